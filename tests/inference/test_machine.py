"""Two measurements on one machine wait for each other; one that is cancelled stops waiting."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from inference.machine import alone
from registry.exceptions import JobCancelled


class Waiting:
    """What `alone` asks of a running job."""

    def __init__(self, patience: int = 1000) -> None:
        self.steps: list[str] = []
        self.patience = patience

    def step(self, name: str) -> None:
        self.steps.append(name)
        if len(self.steps) > self.patience:
            raise JobCancelled


def test_second_measurement_waits_for_the_first(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr("inference.machine.POLL_S", 0.01)
    order: list[str] = []
    waiting, inside, leave = Waiting(), threading.Event(), threading.Event()

    def first() -> None:
        with alone(Waiting()):  # type: ignore[arg-type]
            inside.set()
            leave.wait(10)
            order.append("first")

    def second() -> None:
        with alone(waiting):  # type: ignore[arg-type]
            order.append("second")

    one = threading.Thread(target=first)
    one.start()
    assert inside.wait(10)
    two = threading.Thread(target=second)
    two.start()
    while not waiting.steps:
        two.join(0.01)
    leave.set()
    one.join(10)
    two.join(10)
    assert order == ["first", "second"]


def test_cancelled_measurement_stops_waiting(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DATA_DIR = tmp_path
    monkeypatch.setattr("inference.machine.POLL_S", 0.01)
    with alone(Waiting()), pytest.raises(JobCancelled), alone(Waiting(patience=3)):  # type: ignore[arg-type]
        pytest.fail("two measurements ran at once")
