"""Encodings to packed rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch
from numpy.typing import NDArray

from inference.engine.backend import Encoding
from inference.engine.packed.attention import Layout
from inference.engine.packed.encoder import Rows

# A new number of rows costs the library a new plan: few numbers, all met at start. A small batch is rounded
# less, because there the filler would cost more than it saves.
_FINE, _COARSE, _SMALL = 8, 64, 128


def round_rows(rows: int) -> int:
    """The number of rows that is computed for so many tokens."""
    step = _FINE if rows <= _SMALL else _COARSE
    return -(-rows // step) * step


def round_firsts(firsts: int) -> int:
    return -(-firsts // _FINE) * _FINE


def shapes(most: int) -> list[int]:
    """Every number of rows that `round_rows` gives up to `most` tokens."""
    return sorted({round_rows(n) for n in range(1, most + 1)})


def pack(
    batch: Sequence[Encoding], *, heads: int, padding: int | None, types: bool, device: torch.device
) -> Rows:
    """The batch (sorted by length by the caller, so that equal ones are neighbours) as rows.

    `padding`: the id after which positions count, for RoBERTa's family. A filler of zeros at the end makes
    the number of rows a known one; on CUDA it is a sequence of its own.
    """
    lengths = [len(encoding) for encoding in batch]
    bounds = [0, *accumulate(lengths)]
    total, rows = bounds[-1], round_rows(bounds[-1])
    ids = np.zeros(rows, dtype=np.int64)
    ids[:total] = np.concatenate([encoding.input_ids for encoding in batch])
    kinds = None
    if types and any(any(encoding.type_ids) for encoding in batch):
        kinds = np.zeros(rows, dtype=np.int64)
        kinds[:total] = np.concatenate([encoding.type_ids for encoding in batch])
    cumulative = None
    if device.type == "cuda":
        ends = [*bounds, rows] if rows > total else bounds
        cumulative = torch.tensor(ends, dtype=torch.int32).to(device, non_blocking=True)
    firsts = np.zeros(
        round_firsts(len(batch)) if device.type == "cpu" else len(bounds) - 1 + (rows > total), np.int64
    )
    firsts[: len(batch)] = bounds[:-1]
    return Rows(
        ids=_there(ids, device),
        positions=_there(_positions(ids, np.array(bounds), padding), device),
        types=None if kinds is None else _there(kinds, device),
        firsts=_there(firsts, device),
        layout=Layout(tuple(lengths), tuple(bounds), rows, heads, max(lengths), cumulative),
    )


def _positions(ids: NDArray[np.int64], bounds: NDArray[np.int64], padding: int | None) -> NDArray[np.int64]:
    """0, 1, 2 ... in each sequence; or from after the padding id on, where a padding id typed into the text
    counts for nothing, as transformers has it."""
    starts, total = bounds[:-1], bounds[-1]
    positions = np.zeros(len(ids), dtype=np.int64)
    if padding is None:
        positions[:total] = np.arange(total) - np.repeat(starts, np.diff(bounds))
        return positions
    real = ids[:total] != padding
    counted = np.cumsum(real)
    before = np.repeat(counted[starts] - real[starts], np.diff(bounds))
    positions[:total] = np.where(real, counted - before + padding, padding)
    return positions


def _there(array: NDArray[np.int64], device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
