"""Which texts share a forward pass."""

from __future__ import annotations

from collections.abc import Sequence


def plan_batches(
    lengths: Sequence[int], *, max_rows: int, token_budget: int | None = None
) -> list[list[int]]:
    """Indexes into `lengths` (tokens), grouped into batches; every index occurs once.

    Texts of like length go together, because a batch costs its longest text times its rows. A batch has at
    most `max_rows` rows and, padded, at most `token_budget` tokens; a single text longer than the budget
    goes alone.
    """
    batches: list[list[int]] = []
    current: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: lengths[i]):
        # Ascending order: the newcomer is the longest, so it sets the width.
        width = lengths[index] * (len(current) + 1)
        if current and (len(current) == max_rows or (token_budget is not None and width > token_budget)):
            batches.append(current)
            current = []
        current.append(index)
    if current:
        batches.append(current)
    return batches
