"""A snapshot to the packed backend, without transformers."""

from __future__ import annotations

import torch

from inference.engine.contract import Contract
from inference.engine.device import has_half
from inference.engine.packed.architectures import NotPacked, find
from inference.engine.packed.attention import Attention, RunAttention, VarlenAttention
from inference.engine.packed.backend import PackedBackend
from inference.engine.packed.encoder import Encoder
from inference.engine.packed.weights import Weights
from inference.engine.tokenise import Tokeniser
from inference.engine.types import ClassifierConfig

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def load_packed(config: ClassifierConfig, contract: Contract, device: torch.device) -> PackedBackend:
    """Weights mapped, fused and reordered. Raises NotPacked with the reason."""
    known = find(contract.settings, contract.head.kind)
    dtype = _DTYPES[config.precision]
    if dtype != torch.float32 and not has_half(device, dtype):
        raise NotPacked(f"this {device.type} does not compute in {config.precision}")
    weights = Weights(config.snapshot, known.prefix)
    encoder = Encoder(
        known,
        contract.settings,
        weights,
        contract.head,
        attention=_attention(device, dtype),
        device=device,
        dtype=dtype,
    )
    if weights.missing:
        raise NotPacked(f"its file lacks {len(weights.missing)} tensors (first: {weights.missing[0]})")
    padding = contract.settings.get("pad_token_id", 1) if known.positions_after_padding else None
    backend = PackedBackend(
        encoder=encoder,
        tokeniser=_tokeniser(
            config, contract, _limit(config, contract, encoder, padding), encoder.uses_types
        ),
        head=contract.head,
        labels=contract.labels,
        device=device,
        dtype=dtype,
        padding=padding,
    )
    weights.let_go()
    return backend


def _attention(device: torch.device, dtype: torch.dtype) -> Attention:
    if device.type == "cuda" and dtype != torch.float32:
        try:
            return VarlenAttention()
        except ImportError:
            pass
    return RunAttention()


def _limit(config: ClassifierConfig, contract: Contract, encoder: Encoder, padding: int | None) -> int:
    limit = min(config.max_length, contract.limit)
    if encoder.positions is not None:
        # The family of RoBERTa begins counting after the padding id.
        limit = min(limit, encoder.positions - (0 if padding is None else padding + 1))
    else:
        limit = min(limit, int(contract.settings.get("max_position_embeddings", limit)))
    return limit


def _tokeniser(config: ClassifierConfig, contract: Contract, limit: int, types: bool) -> Tokeniser:
    path = config.snapshot / "tokenizer.json"
    if not path.is_file():
        # PhoBERT's way: a tokenizer that only transformers can read. The canary and serving share it.
        from inference.engine.load_reference import load_tokenizer, make_tokeniser

        return make_tokeniser(load_tokenizer(config.snapshot), config, contract, limit)
    names = contract.tokenizer.get("model_input_names")
    return Tokeniser(
        path.read_text(encoding="utf-8"),
        limit,
        contract.step,
        pieces=contract.head.kind == "tag",
        types=types and (names is None or "token_type_ids" in names),
        side=str(contract.tokenizer.get("truncation_side", "right")),
    )
