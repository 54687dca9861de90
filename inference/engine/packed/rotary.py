"""Rotary positions of ModernBERT: which layer turns by what, and which looks through a window."""

from __future__ import annotations

from typing import Any

import torch

from inference.engine.packed.architectures import NotPacked

_MOST_POSITIONS = 8192


class Rotary:
    """Turns queries and keys of packed rows by their positions."""

    def __init__(self, size: int, theta: float, device: torch.device) -> None:
        steps = 1.0 / (theta ** (torch.arange(0, size, 2, dtype=torch.int64).float() / size))
        angles = torch.outer(torch.arange(_MOST_POSITIONS).float(), steps)
        both = torch.cat((angles, angles), dim=-1)
        self._cos, self._sin = both.cos().to(device), both.sin().to(device)

    @staticmethod
    def of_layer(config: dict[str, Any], number: int, device: torch.device) -> tuple[Rotary, int]:
        """The layer's rotation, and its window (0: it sees everything). Raises NotPacked for a scaled one."""
        size = int(config["hidden_size"]) // int(config["num_attention_heads"])
        everywhere = _is_global(config, number)
        parameters = (config.get("rope_parameters") or {}).get(
            "full_attention" if everywhere else "sliding_attention", {}
        )
        if parameters.get("rope_type", "default") != "default":
            raise NotPacked("its rotary positions are scaled")
        old = (
            config.get("global_rope_theta", 160000.0)
            if everywhere
            else config.get("local_rope_theta", 10000.0)
        )
        theta = float(parameters.get("rope_theta", old))
        return Rotary(size, theta, device), 0 if everywhere else int(config.get("local_attention", 128)) // 2

    def __call__(self, qkv: torch.Tensor, positions: torch.Tensor, heads: int) -> torch.Tensor:
        """qkv (rows, 3 * size), turned in its first two thirds."""
        parts = qkv.view(len(qkv), 3, heads, -1)
        cos, sin = self._cos[positions][:, None, None], self._sin[positions][:, None, None]
        turning = parts[:, :2].float()
        a, b = turning.chunk(2, dim=-1)
        turned = (turning * cos + torch.cat((-b, a), dim=-1) * sin).to(qkv.dtype)
        return torch.cat((turned, parts[:, 2:]), dim=1).view_as(qkv)


def _is_global(config: dict[str, Any], number: int) -> bool:
    types = config.get("layer_types")
    if types:
        return bool(types[number] == "full_attention")
    return number % int(config.get("global_attn_every_n_layers", 3)) == 0
