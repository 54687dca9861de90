"""What most teams write first: FastAPI around transformers.pipeline, in a plain `def` route."""

import argparse

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import pipeline

parser = argparse.ArgumentParser()
parser.add_argument("--model")
parser.add_argument("--port", type=int)
options = parser.parse_args()

torch.set_num_threads(2)
classify = pipeline("text-classification", model=options.model, device="cpu")
app = FastAPI()


class Question(BaseModel):
    inputs: str | list[str]


@app.get("/health")
def health():
    return {}


@app.post("/predict")
def predict(question: Question):
    texts = [question.inputs] if isinstance(question.inputs, str) else question.inputs
    return classify(texts, truncation=True, max_length=128, batch_size=32)


uvicorn.run(app, host="127.0.0.1", port=options.port, log_level="warning")
