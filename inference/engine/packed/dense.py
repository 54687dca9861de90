"""Dense layers as the hardware likes them: reordered once at load, with what follows them fused in."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional

Dense = Callable[[torch.Tensor], torch.Tensor]
_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "": lambda x: x,
    "gelu": functional.gelu,
    "relu": functional.relu,
    "tanh": torch.tanh,
}
# What oneDNN applies while the result is still in the cache, under its own names.
_FUSED = {"": ("none", ""), "gelu": ("gelu", "none"), "relu": ("relu", ""), "tanh": ("tanh", "")}


def make_dense(weight: torch.Tensor, bias: torch.Tensor | None, after: str = "") -> Dense:
    """x (rows, inputs) -> (rows, outputs), activation included. `weight` (outputs, inputs) decides device and
    precision."""
    if weight.device.type == "cpu" and torch.backends.mkldnn.is_available():
        return _reordered(weight, bias, after)
    if after == "gelu" and weight.dtype != torch.float32 and bias is not None:
        # The library's epilogue has the tanh form of GELU: off by less than half precision rounds, and one
        # pass over the widest tensor saved.
        turned = weight.t()
        return lambda x: torch._addmm_activation(bias, x, turned, use_gelu=True)
    activate = _ACTIVATIONS[after]
    return lambda x: activate(functional.linear(x, weight, bias))


def _reordered(weight: torch.Tensor, bias: torch.Tensor | None, after: str) -> Dense:
    packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 64)
    kept = None if bias is None else bias.clone()
    name, algorithm = _FUSED[after]
    run = torch.ops.mkldnn._linear_pointwise.default
    return lambda x: run(x, packed, kept, name, [], algorithm)
