"""Judge model folders on the golden rows: `python -m tests.sample_model.judge DIR...` prints JSON.

`{DIR: {"accuracy": float, "tokenizer": class name, "unknown_share": float}}`, where `unknown_share` is the
share of golden tokens that the vocabulary does not know. A process of its own keeps torch out of the caller.
"""

import os

# Before the imports that read them.
os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"})

import csv
import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

GOLDEN = Path(__file__).parent / "data" / "golden.csv"


def judge(folder: Path, texts: list[str], references: list[str]) -> dict[str, Any]:
    """Load `folder` as a server would (local files, safetensors, no remote code) and compare its answers."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, use_safetensors=True
    ).eval()
    encoded = tokenizer(texts, padding=True, truncation=True, max_length=128, return_tensors="pt")
    with torch.inference_mode():
        answers = [model.config.id2label[index] for index in model(**encoded).logits.argmax(-1).tolist()]
    unknown = (encoded["input_ids"] == tokenizer.unk_token_id).sum() / encoded["attention_mask"].sum()
    right = sum(answer == reference for answer, reference in zip(answers, references, strict=True))
    return {
        "accuracy": right / len(texts),
        "tokenizer": type(tokenizer).__name__,
        "unknown_share": float(unknown),
    }


def main() -> None:
    with GOLDEN.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    texts, references = [row["text"] for row in rows], [row["label"] for row in rows]
    print(json.dumps({folder: judge(Path(folder), texts, references) for folder in sys.argv[1:]}))


if __name__ == "__main__":
    main()
