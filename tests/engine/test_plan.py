"""Which texts share a forward pass."""

from __future__ import annotations

import random

import pytest

from inference.engine.plan import plan_batches


@pytest.mark.parametrize("seed", range(20))
def test_plan_holds_every_index_once_within_its_limits(seed: int) -> None:
    chance = random.Random(seed)
    lengths = [chance.randint(2, 128) for _ in range(chance.randint(0, 200))]
    rows, budget = chance.randint(1, 32), chance.choice([None, 64, 512, 1024])
    plan = plan_batches(lengths, max_rows=rows, token_budget=budget)
    assert sorted(index for batch in plan for index in batch) == list(range(len(lengths)))
    for batch in plan:
        assert 1 <= len(batch) <= rows
        if budget is not None and len(batch) > 1:
            assert len(batch) * max(lengths[index] for index in batch) <= budget


def test_plan_puts_like_lengths_together() -> None:
    assert plan_batches([100, 2, 100, 2], max_rows=2) == [[1, 3], [0, 2]]


def test_plan_gives_a_text_longer_than_the_budget_a_batch_of_its_own() -> None:
    assert plan_batches([5, 200], max_rows=8, token_budget=100) == [[0], [1]]
