"""What a snapshot says it is: task, labels, pooling, limits, preprocessing. Read without any model library."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from inference.engine.errors import ModelLoadError
from inference.engine.preprocessing import Step, read_step
from inference.engine.snapshot import check_snapshot, read_config
from inference.engine.tasks import Head, HeadKind, head_kind
from inference.engine.tokenise import NO_LIMIT, read_settings
from inference.engine.types import ClassifierConfig

_HEADS: dict[str, HeadKind] = {"ForSequenceClassification": "classify", "ForTokenClassification": "tag"}
_NAMES: dict[HeadKind, str] = {
    "classify": "sequence classifier",
    "tag": "token classifier",
    "embed": "encoder",
}


@dataclass(frozen=True)
class Contract:
    """`limit` is the tokenizer's and the sentence settings' limit in tokens; the position table may lower
    it."""

    settings: dict[str, Any]
    tokenizer: dict[str, Any]
    head: Head
    labels: tuple[str, ...]
    limit: int
    step: Step


def read_contract(config: ClassifierConfig) -> Contract:
    """The snapshot's contract. Raises ModelLoadError: those of `check_snapshot`, unsupported_task,
    unsupported_head, bad_labels, bad_preprocessing, load_failed."""
    check_snapshot(config.snapshot)
    settings = read_config(config.snapshot)
    tokenizer = read_settings(config.snapshot)
    kind = _kind(settings, config.task)
    step = read_step(config.snapshot)
    if kind == "tag" and not step.keeps_offsets:
        raise ModelLoadError(
            f"The preprocessing step {step} moves characters, so entities would have wrong offsets.",
            code="bad_preprocessing",
        )
    sentence = _object(config.snapshot / "sentence_bert_config.json")
    limits = [tokenizer.get("model_max_length"), sentence.get("max_seq_length")]
    limit = min(int(n) for n in [*limits, NO_LIMIT] if isinstance(n, int | float) and n > 0)
    labels = () if kind == "embed" else _labels(settings)
    head = (
        _embedding_head(config.snapshot, settings) if kind == "embed" else _label_head(kind, labels, settings)
    )
    return Contract(settings, tokenizer, head, labels, limit, step)


def _kind(settings: dict[str, Any], task: str) -> HeadKind:
    name = str((settings.get("architectures") or [""])[0])
    told = next((kind for ending, kind in _HEADS.items() if name.endswith(ending)), None)
    wanted = head_kind(task) if task else told or (None if name else "classify")
    if task and wanted is None:
        raise ModelLoadError(f"The task {task[:60]!r} cannot be served.", code="unsupported_task")
    if wanted is None and name.endswith("Model"):
        wanted = "embed"
    if wanted is None or (wanted != "embed" and name and told != wanted):
        served = _NAMES[wanted or "classify"]
        raise ModelLoadError(f"The model is a {name[:80]}, not a {served}.", code="unsupported_head")
    if settings.get("problem_type") == "regression":
        raise ModelLoadError(
            "The model's problem type is regression; it gives a number, not a label.", code="unsupported_head"
        )
    return wanted


def _labels(settings: dict[str, Any]) -> tuple[str, ...]:
    """The labels in the order of the logits; LABEL_0 ... where config.json names none, as transformers has
    it."""
    named = settings.get("id2label")
    if named is None:
        named = {str(i): f"LABEL_{i}" for i in range(int(settings.get("num_labels") or 2))}
    try:
        by_number = {int(number): str(label) for number, label in named.items()}
    except (AttributeError, ValueError, TypeError):
        by_number = {}
    if not by_number or sorted(by_number) != list(range(len(by_number))):
        raise ModelLoadError("The label mapping does not name every output of the model.", code="bad_labels")
    labels = tuple(by_number[i] for i in range(len(by_number)))
    if len(set(labels)) != len(labels):
        raise ModelLoadError("Two outputs of the model have the same label.", code="bad_labels")
    return labels


def _label_head(kind: HeadKind, labels: tuple[str, ...], settings: dict[str, Any]) -> Head:
    several = settings.get("problem_type") == "multi_label_classification" or len(labels) == 1
    activation: Literal["softmax", "sigmoid"] = "sigmoid" if several and kind == "classify" else "softmax"
    return Head(kind, activation=activation, size=len(labels))


def _embedding_head(snapshot: Path, settings: dict[str, Any]) -> Head:
    """Pooling and normalisation as sentence-transformers files declare them; else the mean, as it comes."""
    pooling = _object(snapshot / "1_Pooling" / "config.json")
    modules = [str(m.get("type", "")).rpartition(".")[2] for m in _array(snapshot / "modules.json")]
    other = [name for name in modules if name not in ("Transformer", "Pooling", "Normalize")]
    modes = [name for name, on in pooling.items() if name.startswith("pooling_mode_") and on is True]
    if other or any(name not in ("pooling_mode_cls_token", "pooling_mode_mean_tokens") for name in modes):
        raise ModelLoadError(
            "The model's vectors are made by a step that is not served (only mean and CLS pooling are).",
            code="unsupported_head",
        )
    if "Pooling" in modules and not pooling:
        raise ModelLoadError(
            "The snapshot declares a pooling step but lacks 1_Pooling/config.json.", code="unsupported_head"
        )
    size = settings.get("hidden_size") or settings.get("dim") or 0
    return Head(
        "embed",
        pooling="cls" if modes == ["pooling_mode_cls_token"] else "mean",
        normalise="Normalize" in modules,
        size=int(size),
    )


def _object(path: Path) -> dict[str, Any]:
    value = _json(path)
    return value if isinstance(value, dict) else {}


def _array(path: Path) -> list[dict[str, Any]]:
    value = _json(path)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise ModelLoadError(f"{path.name} of the snapshot is not readable JSON.") from None
