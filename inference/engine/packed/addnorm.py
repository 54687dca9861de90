"""A sum and its layer norm in one pass over memory, on CUDA. Written in Triton, which torch brings there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from inference.engine.errors import describe_error

AddNorm = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

logger = logging.getLogger(__name__)


def make_add_norm(weight: torch.Tensor, bias: torch.Tensor | None, eps: float) -> AddNorm:
    """(a, b) -> layer norm of a + b. The fused kernel where it runs and agrees with torch, else two calls."""

    def plain(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return functional.layer_norm(a + b, weight.shape, weight, bias, eps)

    if weight.device.type != "cuda" or bias is None or weight.dtype == torch.float32:
        return plain
    kernel = _kernel()
    if kernel is None:
        return plain
    size = len(weight)
    block = 1 << (size - 1).bit_length()

    def fused(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        out = torch.empty_like(a)
        kernel[(len(a),)](
            a, b, weight, bias, out, size, eps, BLOCK=block, num_warps=4 if block <= 1024 else 8
        )
        return out

    return fused if _agrees(fused, plain, size, weight) else plain


def _agrees(fused: Any, plain: Any, size: int, like: torch.Tensor) -> bool:
    try:
        a, b = (torch.randn(64, size, device=like.device, dtype=like.dtype) for _ in range(2))
        far = float((fused(a, b).float() - plain(a, b).float()).abs().max())
    except Exception as exc:
        logger.warning("fused_norm_failed", extra={"error": describe_error(exc)})
        return False
    return far < 0.1


_made: list[Any] = []


def _kernel() -> Any:
    """The compiled kernel, or None without Triton."""
    if _made:
        return _made[0]
    try:
        from inference.engine.packed.addnorm_triton import add_norm
    except Exception as exc:
        logger.warning("no_triton", extra={"error": describe_error(exc)})
        _made.append(None)
        return None
    _made.append(add_norm)
    return add_norm
