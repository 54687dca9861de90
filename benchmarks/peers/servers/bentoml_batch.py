"""BentoML with its adaptive batching: up to 32 texts."""

import argparse
import os
import sys
from pathlib import Path

import bentoml


@bentoml.service(workers=1, traffic={"timeout": 120, "max_concurrency": 512})
class Classifier:
    def __init__(self):
        import torch
        from transformers import pipeline

        torch.set_num_threads(2)
        self.classify = pipeline("text-classification", model=os.environ["BENCH_MODEL"], device="cpu")

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=60_000)
    def predict(self, inputs: list[str]) -> list[dict]:
        return self.classify(inputs, truncation=True, max_length=128, batch_size=32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--port")
    options = parser.parse_args()
    here = Path(__file__).resolve()
    os.environ |= {"BENCH_MODEL": options.model, "BENTOML_DO_NOT_TRACK": "True"}
    os.chdir(here.parent)
    os.execv(
        sys.executable,
        [
            sys.executable,
            "-m",
            "bentoml",
            "serve",
            f"{here.stem}:Classifier",
            "--host",
            "127.0.0.1",
            "--port",
            options.port,
        ],
    )
