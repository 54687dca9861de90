"""Which texts share a forward pass."""

from __future__ import annotations

from collections.abc import Sequence


def plan_batches(
    lengths: Sequence[int], *, max_rows: int, token_budget: int | None = None, pads: bool = True
) -> list[list[int]]:
    """Indexes into `lengths` (tokens), grouped into batches; every index occurs once.

    Where a backend pads, texts of like length go together, because a batch then costs its longest text times
    its rows; where it does not, the order stays and a batch costs its tokens. A batch has at most `max_rows`
    rows and costs at most `token_budget`; a single text longer than the budget goes alone.
    """
    batches: list[list[int]] = []
    current: list[int] = []
    tokens = 0
    order = range(len(lengths))
    for index in sorted(order, key=lambda i: lengths[i]) if pads else order:
        # Ascending order when padded: the newcomer is the longest, so it sets the width.
        cost = lengths[index] * (len(current) + 1) if pads else tokens + lengths[index]
        if current and (len(current) == max_rows or (token_budget is not None and cost > token_budget)):
            batches.append(current)
            current, tokens = [], 0
        current.append(index)
        tokens += lengths[index]
    if current:
        batches.append(current)
    return batches
