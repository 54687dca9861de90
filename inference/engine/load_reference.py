"""A snapshot to the reference backend. The one place where errors of transformers are caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
)

from inference.engine.contract import Contract
from inference.engine.errors import ModelLoadError
from inference.engine.reference import ReferenceBackend
from inference.engine.tokenise import Tokeniser
from inference.engine.types import ClassifierConfig

_CLASSES = {
    "classify": AutoModelForSequenceClassification,
    "tag": AutoModelForTokenClassification,
    "embed": AutoModel,
}


def load_reference(
    config: ClassifierConfig, contract: Contract, device: torch.device, *, alone: bool = False
) -> ReferenceBackend:
    """Tokenizer and model, in evaluation mode. `alone` is for one input at a time, which needs no padding.

    Raises ModelLoadError: missing_weights, no_pad_token, load_failed.
    """
    tokenizer = load_tokenizer(config.snapshot)
    if tokenizer.pad_token_id is None and not alone:
        raise ModelLoadError(
            "The tokenizer has no padding token, so texts cannot share a batch.", code="no_pad_token"
        )
    model = _load_model(config, contract)
    model.to(device)
    model.eval()
    return ReferenceBackend(
        model=model,
        tokenizer=tokenizer,
        tokeniser=make_tokeniser(tokenizer, config, contract, _limit(tokenizer, model)),
        device=device,
        labels=contract.labels,
        head=contract.head,
    )


def make_tokeniser(tokenizer: Any, config: ClassifierConfig, contract: Contract, limit: int) -> Tokeniser:
    """A tokenizer of transformers behind our own cut."""
    return Tokeniser(
        tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else tokenizer,
        min(config.max_length, contract.limit, limit),
        contract.step,
        pieces=contract.head.kind == "tag",
        side=tokenizer.truncation_side,
    )


def load_tokenizer(snapshot: Path) -> Any:
    """The snapshot's tokenizer. Raises ModelLoadError (load_failed)."""
    try:
        return AutoTokenizer.from_pretrained(str(snapshot), local_files_only=True, trust_remote_code=False)
    except Exception as exc:
        raise ModelLoadError(_sentence("tokenizer", exc, snapshot)) from exc


def _load_model(config: ClassifierConfig, contract: Contract) -> Any:
    try:
        model, info = _CLASSES[contract.head.kind].from_pretrained(
            str(config.snapshot),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype={"bf16": torch.bfloat16, "fp16": torch.float16}.get(config.precision, torch.float32),
            output_loading_info=True,
        )
    except Exception as exc:
        raise ModelLoadError(_sentence("model", exc, config.snapshot)) from exc
    # transformers fills what the file lacks with random numbers and goes on: a classifier that answers by
    # chance. A pooler that an embedding never uses may be lacking.
    lacking = sorted({*map(str, info["missing_keys"]), *map(str, info["mismatched_keys"])})
    if contract.head.kind == "embed":
        lacking = [name for name in lacking if not name.startswith("pooler.")]
    if lacking:
        raise ModelLoadError(
            f"The weights lack {len(lacking)} tensors that the architecture needs (first: {lacking[0]}).",
            code="missing_weights",
        )
    return model


def _limit(tokenizer: Any, model: Any) -> int:
    """The most tokens that both the tokenizer and the model's position table take."""
    limit = int(tokenizer.model_max_length)
    tables = False
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and hasattr(module, "num_embeddings"):
            # Models of the RoBERTa family begin counting after the padding index.
            offset = 0 if module.padding_idx is None else module.padding_idx + 1
            limit, tables = min(limit, module.num_embeddings - offset), True
    if not tables:
        # Rotary positions go on for ever; the model was trained up to here.
        limit = min(limit, int(getattr(model.config, "max_position_embeddings", 0) or limit))
    return limit


def _sentence(part: str, exc: Exception, snapshot: Path) -> str:
    """Why loading failed, without the machine's path. At load time no caller's text can be in the message."""
    reason = " ".join(str(exc).replace(str(snapshot), "the snapshot").split())[:300]
    return f"Cannot load the {part} from the snapshot: {type(exc).__name__}: {reason}"
