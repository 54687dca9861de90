"""LitServe with its own batching: up to 32 requests, 5 ms of waiting."""

import argparse

import litserve
import torch
from transformers import pipeline

parser = argparse.ArgumentParser()
parser.add_argument("--model")
parser.add_argument("--port", type=int)
options = parser.parse_args()


class Classifier(litserve.LitAPI):
    def setup(self, device):
        torch.set_num_threads(2)
        self.classify = pipeline("text-classification", model=options.model, device="cpu")

    def decode_request(self, request):
        return request["inputs"]

    def predict(self, texts):
        return self.classify(texts, truncation=True, max_length=128, batch_size=32)

    def unbatch(self, output):
        return output

    def encode_response(self, output):
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Classifier(max_batch_size=32, batch_timeout=0.005), accelerator="cpu", healthcheck_path="/health"
    )
    server.run(host="127.0.0.1", port=options.port, log_level="warning", generate_client_file=False)
