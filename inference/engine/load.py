"""A local snapshot to a backend. The one place where errors of transformers and safetensors are caught."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from inference.engine.device import pick_device
from inference.engine.errors import ModelLoadError
from inference.engine.snapshot import check_snapshot, read_config
from inference.engine.torch_backend import TorchBackend
from inference.engine.types import ClassifierConfig

logger = logging.getLogger(__name__)


def load_backend(config: ClassifierConfig) -> TorchBackend:
    """Load tokenizer and model from the snapshot folder, onto the best device, in evaluation mode.

    Never fetches, never runs code of the snapshot, never reads pickles. Raises ModelLoadError with a code:
    those of `check_snapshot`, unsupported_head, missing_weights, no_pad_token, bad_labels, load_failed.
    """
    check_snapshot(config.snapshot)
    _check_head(read_config(config.snapshot))
    tokenizer = load_tokenizer(config.snapshot)
    if tokenizer.pad_token_id is None:
        raise ModelLoadError(
            "The tokenizer has no padding token, so texts cannot share a batch.", code="no_pad_token"
        )
    model = _load_model(config.snapshot)
    device = pick_device()
    model.to(device)
    model.eval()
    backend = TorchBackend(
        model=model,
        tokenizer=tokenizer,
        device=device,
        labels=_labels(model.config),
        max_length=min(config.max_length, _limit(tokenizer, model)),
    )
    logger.info(
        "model_loaded",
        extra={
            "model_id": config.model_id,
            "commit_sha": config.commit_sha,
            "device": backend.device,
            "max_length": backend.max_length,
        },
    )
    return backend


def load_tokenizer(snapshot: Path) -> Any:
    """The snapshot's tokenizer. Raises ModelLoadError (load_failed)."""
    try:
        return AutoTokenizer.from_pretrained(str(snapshot), local_files_only=True, trust_remote_code=False)
    except Exception as exc:
        raise ModelLoadError(_sentence("tokenizer", exc, snapshot)) from exc


def _load_model(snapshot: Path) -> Any:
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            str(snapshot),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as exc:
        raise ModelLoadError(_sentence("model", exc, snapshot)) from exc
    # transformers fills what the file lacks with random numbers and goes on: a classifier that answers by
    # chance.
    lacking = sorted({*map(str, info["missing_keys"]), *map(str, info["mismatched_keys"])})
    if lacking:
        raise ModelLoadError(
            f"The weights lack {len(lacking)} tensors that the architecture needs (first: {lacking[0]}).",
            code="missing_weights",
        )
    return model


def _check_head(settings: dict[str, Any]) -> None:
    architectures = settings.get("architectures") or []
    if architectures and not any(str(name).endswith("ForSequenceClassification") for name in architectures):
        raise ModelLoadError(
            f"The model is a {architectures[0]}, not a sequence classifier.", code="unsupported_head"
        )
    if settings.get("problem_type") in ("multi_label_classification", "regression"):
        raise ModelLoadError(
            f"The model's problem type is {settings['problem_type']}; only single-label is served.",
            code="unsupported_head",
        )


def _labels(config: Any) -> tuple[str, ...]:
    id2label = config.id2label
    if sorted(id2label) != list(range(config.num_labels)) or config.num_labels < 2:
        raise ModelLoadError("The label mapping does not name every output of the model.", code="bad_labels")
    labels = tuple(str(id2label[i]) for i in range(config.num_labels))
    if len(set(labels)) != len(labels):
        raise ModelLoadError("Two outputs of the model have the same label.", code="bad_labels")
    return labels


def _limit(tokenizer: Any, model: Any) -> int:
    """The most tokens that both the tokenizer and the model's position table take."""
    limit = int(tokenizer.model_max_length)
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            # Models of the RoBERTa family begin counting after the padding index.
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            limit = min(limit, module.num_embeddings - offset)
    return limit


def _sentence(part: str, exc: Exception, snapshot: Path) -> str:
    """Why loading failed, without the machine's path. At load time no caller's text can be in the message."""
    reason = " ".join(str(exc).replace(str(snapshot), "the snapshot").split())[:300]
    return f"Cannot load the {part} from the snapshot: {type(exc).__name__}: {reason}"
