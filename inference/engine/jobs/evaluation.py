"""How good is the revision on a golden set? One prediction for each example; the metrics are computed
elsewhere."""

from __future__ import annotations

import time
from typing import Any

from inference.engine.classifier import TextClassifier
from inference.engine.errors import InferenceInputError
from inference.engine.hardware import hardware, versions
from inference.engine.jobs.task import JobError, Progress, Task
from inference.engine.types import ClassifierConfig
from inference.engine.validate import check_texts

SCHEMA = 1
_CHUNK = 256


def run_evaluation(task: Task, progress: Progress) -> dict[str, Any]:
    """The result of contract C3, kind evaluation. Raises JobError (bad_request, invalid_example,
    unknown_label)."""
    examples = _examples(task)
    texts = [example["inputs"] for example in examples]
    try:
        check_texts(texts)
    except InferenceInputError as exc:
        example_id = examples[exc.details.get("index", 0)]["id"]
        raise JobError(
            "invalid_example", f"Golden example {example_id!r} cannot be classified: {exc}"
        ) from None

    progress("load", 0, 1)
    config = ClassifierConfig(
        task.snapshot,
        task.model_id,
        task.commit_sha,
        max_length=task.size("max_length", 128, least=8),
        batch_size=task.size("batch_size", 16),
    )
    classifier = TextClassifier(config)
    _check_labels(examples, classifier.labels)
    classifier.warm_up()
    progress("load", 1, 1)

    started = time.monotonic()
    predictions: list[dict[str, Any]] = []
    for start in range(0, len(texts), _CHUNK):
        progress("evaluate", start, len(texts))
        result = classifier.predict(texts[start : start + _CHUNK])
        for example, prediction in zip(examples[start : start + _CHUNK], result.predictions, strict=True):
            predictions.append(
                {
                    "id": example["id"],
                    "prediction": prediction.label,
                    "confidence": prediction.confidence,
                    "token_count": prediction.token_count,
                    "truncated": prediction.truncated,
                }
            )
    progress("evaluate", len(texts), len(texts))
    return {
        "schema": SCHEMA,
        "labels": list(classifier.labels),
        "predictions": predictions,
        "hardware": hardware(classifier.device),
        "versions": versions(),
        "variant": str(classifier.backend.variant),
        "duration_s": round(time.monotonic() - started, 3),
    }


def _examples(task: Task) -> list[dict[str, Any]]:
    examples = task.params.get("examples")
    if not isinstance(examples, list) or not examples:
        raise JobError("bad_request", "The parameter examples must be a non-empty list.")
    for number, example in enumerate(examples):
        if not isinstance(example, dict) or not {"id", "inputs", "reference"} <= example.keys():
            raise JobError("bad_request", f"Example {number} must have id, inputs and reference.")
    return examples


def _check_labels(examples: list[dict[str, Any]], labels: tuple[str, ...]) -> None:
    unknown = sorted({str(example["reference"]) for example in examples} - set(labels))
    if unknown:
        # A label is a class name that people chose, not an input; it is cut in case a text sits in its
        # column.
        named = ", ".join(repr(label[:60]) for label in unknown[:5])
        raise JobError(
            "unknown_label",
            f"The golden set uses {named}, but the model's labels are {', '.join(map(repr, labels))}.",
        )
