"""Train the sample sentiment classifier from nothing, the way the lesson on datasets and Trainer does it.

`python -m tests.sample_model.train --out DIR --metrics FILE --epochs N --rows FRACTION [--seed N]`

1. `load_dataset("csv")` reads `data/train.csv` (`text`, `label`).
2. `train_test_split(seed=42)` holds out one row in seven; every variant is measured on the same hold-out.
3. A WordPiece tokenizer is trained on the training rows only, so that the hold-out stays unseen.
4. `map(tokenize_batch, batched=True)` makes `input_ids`, `attention_mask` and numeric `labels`.
5. `Trainer` fits a small, randomly initialised DistilBERT on the CPU.
6. The repository's machine-made files go to `--out`, the measured figures to `--metrics` (JSON).

Same inputs, same bytes: seeds are fixed, torch runs one thread with deterministic kernels. Nothing is
downloaded: the offline switches below are set before any library of the ecosystem is imported.
Run it in a process of its own; it changes torch's global state.
"""

import os

# Before the imports that read them.
os.environ.update(
    {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1",  # else transformers asks the Hub's convert Space for a copy
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",  # one order of merging, one vocabulary
        "OMP_NUM_THREADS": "1",
    }
)

import argparse
import json
import random
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, load_dataset
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    DataCollatorWithPadding,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

DATA = Path(__file__).parent / "data" / "train.csv"
LABELS = ("negative", "neutral", "positive")
LABEL2ID = {label: index for index, label in enumerate(LABELS)}
ID2LABEL = dict(enumerate(LABELS))
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_LENGTH = 128
HOLDOUT = 0.15
SHORT_WORDS = 8  # the border between the two length groups of the card
SPLIT_SEED = 42


@dataclass(frozen=True)
class Settings:
    """Everything that changes the weights. `rows` is the fraction of the training split that is used."""

    epochs: int
    rows: float = 1.0
    seed: int = 15
    learning_rate: float = 5e-4
    batch_size: int = 16
    weight_decay: float = 0.05
    warmup_steps: int = 20
    dropout: float = 0.2
    dim: int = 128
    layers: int = 2
    heads: int = 4
    vocabulary: int = 3000


def make_deterministic(seed: int) -> None:
    """Seed Python, numpy and torch, and leave torch no freedom of order. Changes global state."""
    random.seed(seed)
    set_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def _empty_tokenizer(model: Any) -> Any:
    """A tokenizer around `model` with the text preparation that training and serving share."""
    core = Tokenizer(model)
    core.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.BertNormalizer(strip_accents=False, lowercase=True)]
    )
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return core


def train_tokenizer(texts: list[str], vocabulary: int) -> Any:
    """A lower-casing WordPiece tokenizer that keeps Vietnamese diacritics: "tôi" and "tối" differ by one.

    The trainer numbers the pieces inside words ("##a") in the order of a hash map that differs from run to
    run, and breaks ties between equal counts by these numbers. Naming them up front, sorted, fixes both;
    the finished vocabulary is then loaded into a fresh tokenizer, where they are ordinary pieces.
    """
    core = _empty_tokenizer(models.WordPiece(unk_token="[UNK]"))
    words = (
        word
        for text in texts
        for word, _ in core.pre_tokenizer.pre_tokenize_str(core.normalizer.normalize_str(text))
    )
    inner = sorted({f"##{letter}" for word in words for letter in word[1:]})
    core.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(
            vocab_size=vocabulary,
            min_frequency=2,
            special_tokens=[*SPECIAL_TOKENS, *inner],
            show_progress=False,
        ),
    )
    core = _empty_tokenizer(models.WordPiece(vocab=core.get_vocab(), unk_token="[UNK]"))
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, core.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        model_max_length=MAX_LENGTH,
        model_input_names=["input_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def new_model(settings: Settings, tokenizer: Any) -> Any:
    """A randomly initialised DistilBERT whose config carries the label mapping in both directions."""
    return DistilBertForSequenceClassification(
        DistilBertConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=MAX_LENGTH,
            n_layers=settings.layers,
            n_heads=settings.heads,
            dim=settings.dim,
            hidden_dim=2 * settings.dim,
            dropout=settings.dropout,
            attention_dropout=settings.dropout,
            seq_classif_dropout=settings.dropout,
            pad_token_id=tokenizer.pad_token_id,
            id2label=ID2LABEL,
            label2id=LABEL2ID,
        )
    )


def confusion(references: np.ndarray, predictions: np.ndarray) -> list[list[int]]:
    """Counts by reference (row) and prediction (column), both in the order of `LABELS`."""
    matrix = [[0] * len(LABELS) for _ in LABELS]
    for reference, prediction in zip(references.tolist(), predictions.tolist(), strict=True):
        matrix[reference][prediction] += 1
    return matrix


def per_class(matrix: list[list[int]]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and support of each label; an empty denominator counts as 0."""
    figures = {}
    for index, label in enumerate(LABELS):
        hits, support = matrix[index][index], sum(matrix[index])
        predicted = sum(row[index] for row in matrix)
        precision = hits / predicted if predicted else 0.0
        recall = hits / support if support else 0.0
        f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
        figures[label] = {"precision": precision, "recall": recall, "f1": f1, "support": float(support)}
    return figures


def compute_metrics(eval_pred: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    """`logits (n, 3)` and `label_ids (n,)` to accuracy and macro F1, as Trainer calls it after each epoch."""
    logits, label_ids = eval_pred
    predictions = np.argmax(logits, axis=-1)
    figures = per_class(confusion(label_ids, predictions))
    macro_f1 = sum(row["f1"] for row in figures.values()) / len(LABELS)
    return {"accuracy": float((predictions == label_ids).mean()), "macro_f1": macro_f1}


def train(settings: Settings, out: Path, data: Path = DATA) -> dict[str, Any]:
    """Train one variant, write its files to `out` and return what was measured on the hold-out.

    Raises KeyError when the data has a label outside `LABELS`.
    """
    started = time.perf_counter()
    make_deterministic(settings.seed)
    with tempfile.TemporaryDirectory() as scratch:
        raw = load_dataset("csv", data_files=str(data), cache_dir=scratch)["train"]
        split = raw.train_test_split(test_size=HOLDOUT, seed=SPLIT_SEED)
        # train_test_split has shuffled, so the first rows are a fair sample of all.
        split["train"] = split["train"].select(range(round(settings.rows * len(split["train"]))))
        tokenizer = train_tokenizer(split["train"]["text"][:], settings.vocabulary)

        def tokenize_batch(examples: dict[str, list[str]]) -> dict[str, Any]:
            encoded: dict[str, Any] = dict(
                tokenizer(examples["text"], truncation=True, max_length=MAX_LENGTH)
            )
            encoded["labels"] = [LABEL2ID[label] for label in examples["label"]]
            return encoded

        tokenized = split.map(tokenize_batch, batched=True, remove_columns=["text", "label"])
        trainer = Trainer(
            model=new_model(settings, tokenizer),
            args=TrainingArguments(
                output_dir=scratch,
                per_device_train_batch_size=settings.batch_size,
                per_device_eval_batch_size=64,
                num_train_epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                weight_decay=settings.weight_decay,
                warmup_steps=settings.warmup_steps,
                eval_strategy="epoch",
                logging_strategy="epoch",
                save_strategy="no",
                use_cpu=True,
                report_to="none",
                disable_tqdm=True,
                dataloader_pin_memory=False,
                seed=settings.seed,
                data_seed=settings.seed,
            ),
            train_dataset=tokenized["train"],
            eval_dataset=tokenized["test"],
            processing_class=tokenizer,
            data_collator=DataCollatorWithPadding(tokenizer=tokenizer),
            compute_metrics=compute_metrics,
        )
        trainer.train()
        seconds = time.perf_counter() - started
        measured = _measure(trainer, tokenized["test"], split["test"]["text"][:])
        trainer.model.save_pretrained(out)
        tokenizer.save_pretrained(out)
    lengths = [len(ids) for ids in tokenized["train"]["input_ids"]]
    return {
        **measured,
        "settings": asdict(settings),
        "history": [entry for entry in trainer.state.log_history if "eval_loss" in entry],
        "train_rows": len(tokenized["train"]),
        "holdout_rows": len(tokenized["test"]),
        "tokens_mean": sum(lengths) / len(lengths),
        "tokens_max": max(lengths),
        "vocabulary": len(tokenizer),
        "parameters": trainer.model.num_parameters(),
        "seconds": round(seconds, 1),
    }


def _measure(trainer: Any, holdout: Dataset, texts: list[str]) -> dict[str, Any]:
    """Accuracy, macro F1, figures by label and by length, and the confusion matrix of the finished model."""
    output = trainer.predict(holdout)
    predictions = np.argmax(output.predictions, axis=-1)
    right = predictions == output.label_ids
    short = np.array([len(text.split()) <= SHORT_WORDS for text in texts])
    matrix = confusion(output.label_ids, predictions)
    return {
        **compute_metrics((output.predictions, output.label_ids)),
        "per_class": per_class(matrix),
        "confusion": matrix,
        "by_length": {
            name: {"rows": int(mask.sum()), "accuracy": float(right[mask].mean())}
            for name, mask in (("short", short), ("long", ~short))
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Train one variant of the sample classifier.")
    parser.add_argument("--out", type=Path, required=True, help="folder for config, weights and tokenizer")
    parser.add_argument("--metrics", type=Path, required=True, help="file for the measured figures (JSON)")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--rows", type=float, default=1.0, help="fraction of the training split, 0 < f <= 1")
    parser.add_argument("--seed", type=int, default=Settings.seed)
    args = parser.parse_args()
    if not 0 < args.rows <= 1:
        parser.error("--rows must be a fraction above 0 and at most 1")
    args.out.mkdir(parents=True, exist_ok=True)
    metrics = train(Settings(epochs=args.epochs, rows=args.rows, seed=args.seed), args.out)
    args.metrics.write_text(json.dumps(metrics, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
