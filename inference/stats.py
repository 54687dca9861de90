"""Order statistics of measured times. Pure functions, no dependency."""

from __future__ import annotations

import math
from collections.abc import Iterable


def percentile(values: Iterable[float], q: float) -> float:
    """The `q`-th percentile (0 to 100) of `values`, with linear interpolation between the two neighbours
    (numpy's default method).

    Raises ValueError for no values, for a value that is not finite, or for `q` outside 0 to 100.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("A percentile needs at least one value.")
    # Not only the ends: sorted() with a NaN in the middle is in no order at all.
    if not all(math.isfinite(value) for value in ordered):
        raise ValueError("A percentile needs finite values.")
    if not 0 <= q <= 100:
        raise ValueError(f"A percentile lies between 0 and 100, not at {q}.")
    position = (len(ordered) - 1) * q / 100
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def median(values: Iterable[float]) -> float:
    """The 50th percentile of `values`. Raises as `percentile` does."""
    return percentile(values, 50)
