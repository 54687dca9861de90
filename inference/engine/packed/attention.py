"""Attention of packed sequences: each token sees the tokens of its own sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention as attend


@dataclass(frozen=True)
class Layout:
    """Where the sequences lie in the packed rows. `bounds` are row numbers (len + 1), `rows` all rows with
    the filler at the end."""

    lengths: tuple[int, ...]
    bounds: tuple[int, ...]
    rows: int
    heads: int
    longest: int
    cumulative: torch.Tensor | None = None

    @property
    def runs(self) -> list[tuple[int, int, int]]:
        """(first row, sequences, length) of neighbours that are equally long."""
        found: list[tuple[int, int, int]] = []
        for start, length in zip(self.bounds, self.lengths, strict=False):
            if found and found[-1][2] == length:
                first, count, _ = found[-1]
                found[-1] = (first, count + 1, length)
            else:
                found.append((start, 1, length))
        return found


class Attention(Protocol):
    def every(self, qkv: torch.Tensor, layout: Layout, window: int) -> torch.Tensor:
        """qkv (rows, 3 * size) -> (rows, size)."""

    def first(self, query: torch.Tensor, kv: torch.Tensor, layout: Layout) -> torch.Tensor:
        """For the first token of each sequence: query (rows >= sequences, size), kv (rows, 2 * size) -> as
        query."""


class RunAttention:
    """One library call for each run of equally long sequences. For the CPU, and wherever nothing better is."""

    def every(self, qkv: torch.Tensor, layout: Layout, window: int) -> torch.Tensor:
        size = qkv.shape[1] // 3
        out = (
            qkv.new_zeros(layout.rows, size)
            if layout.bounds[-1] < layout.rows
            else qkv.new_empty(layout.rows, size)
        )
        for start, count, length in layout.runs:
            end = start + count * length
            q, k, v = qkv[start:end].view(count, length, 3, layout.heads, -1).permute(2, 0, 3, 1, 4)
            mask = band(length, window, qkv.device) if 0 < window < length else None
            seen = attend(q, k, v, attn_mask=mask)
            out[start:end].view(count, length, layout.heads, -1).copy_(seen.transpose(1, 2))
        return out

    def first(self, query: torch.Tensor, kv: torch.Tensor, layout: Layout) -> torch.Tensor:
        out = torch.zeros_like(query)
        done = 0
        for start, count, length in layout.runs:
            k, v = (
                kv[start : start + count * length]
                .view(count, length, 2, layout.heads, -1)
                .permute(2, 0, 3, 1, 4)
            )
            q = query[done : done + count].view(count, layout.heads, 1, -1)
            out[done : done + count] = attend(q, k, v).view(count, -1)
            done += count
        return out


class VarlenAttention:
    """torch's variable-length kernel: all sequences in one call. CUDA, half precision."""

    def __init__(self) -> None:
        from torch.nn.attention.varlen import varlen_attn

        self._run = varlen_attn

    def every(self, qkv: torch.Tensor, layout: Layout, window: int) -> torch.Tensor:
        q, k, v = qkv.view(layout.rows, 3, layout.heads, -1).unbind(1)
        bounds, longest = layout.cumulative, layout.longest
        if 0 < window < longest:
            seen = self._run(q, k, v, bounds, bounds, longest, longest, window_size=(window, window))
        else:
            seen = self._run(q, k, v, bounds, bounds, longest, longest)
        return seen.reshape(layout.rows, -1)

    def first(self, query: torch.Tensor, kv: torch.Tensor, layout: Layout) -> torch.Tensor:
        bounds = layout.cumulative
        assert bounds is not None
        k, v = kv.view(layout.rows, 2, layout.heads, -1).unbind(1)
        rows = len(query)
        ones = torch.arange(rows + 1, dtype=torch.int32, device=query.device)
        seen = self._run(query.view(rows, layout.heads, -1), k, v, ones, bounds, 1, layout.longest)
        return seen.reshape(rows, -1)


def band(length: int, window: int, device: torch.device) -> torch.Tensor:
    """Which tokens see each other when each sees `window` to either side."""
    places = torch.arange(length, device=device)
    return (places[:, None] - places[None, :]).abs() <= window
