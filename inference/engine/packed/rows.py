"""Encodings to packed rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from inference.engine.backend import Encoding
from inference.engine.packed.attention import Layout
from inference.engine.packed.encoder import Rows

Integers = NDArray[np.int64]

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
    """The batch (sorted by length by the caller, so that equal ones are neighbours) as rows."""
    ids = np.concatenate([encoding.input_ids for encoding in batch]).astype(np.int64)
    kinds = None
    if types and any(any(encoding.type_ids) for encoding in batch):
        kinds = np.concatenate([encoding.type_ids for encoding in batch]).astype(np.int64)
    lengths = np.array([len(encoding) for encoding in batch])
    return pack_flat(ids, lengths, kinds, heads=heads, padding=padding, device=device)


def pack_flat(
    ids: Integers,
    lengths: Integers,
    kinds: Integers | None,
    *,
    heads: int,
    padding: int | None,
    device: torch.device,
) -> Rows:
    """Token ids of all sequences one after the other, as rows.

    `padding`: the id after which positions count, for RoBERTa's family. A filler of zeros at the end makes
    the number of rows a known one; on CUDA it is a sequence of its own.
    """
    bounds = np.concatenate(([0], np.cumsum(lengths)))
    total, count = int(bounds[-1]), len(lengths)
    rows = round_rows(total)
    cumulative = None
    firsts = np.zeros(round_firsts(count), np.int64)
    if device.type == "cuda":
        ends = np.append(bounds, rows) if rows > total else bounds
        cumulative = _there(ends.astype(np.int32), device)
        firsts = np.zeros(len(ends) - 1, np.int64)
        firsts[count:] = total
    firsts[:count] = bounds[:-1]
    return Rows(
        ids=_there(_filled(ids, rows), device),
        positions=_there(_filled(_positions(ids, bounds, padding), rows), device),
        types=None if kinds is None else _there(_filled(kinds, rows), device),
        firsts=_there(firsts, device),
        layout=Layout(
            tuple(lengths.tolist()),
            tuple(bounds.tolist()),
            rows,
            heads,
            max(int(lengths.max()), rows - total),
            cumulative,
        ),
    )


def _filled(values: Integers, rows: int) -> Integers:
    out = np.zeros(rows, dtype=np.int64)
    out[: len(values)] = values
    return out


def _positions(ids: Integers, bounds: Integers, padding: int | None) -> Integers:
    """0, 1, 2 ... in each sequence; or from after the padding id on, where a padding id typed into the text
    counts for nothing, as transformers has it."""
    starts, sizes = bounds[:-1], np.diff(bounds)
    if padding is None:
        positions: Integers = np.arange(len(ids)) - np.repeat(starts, sizes)
        return positions
    real = ids != padding
    counted = np.cumsum(real)
    before = np.repeat(counted[starts] - real[starts], sizes)
    return np.where(real, counted - before + padding, padding)


def _there(array: NDArray[np.integer], device: torch.device) -> torch.Tensor:
    tensor = torch.from_numpy(array)
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)
