"""The process that is started before there is a model: taken once, never when it is about to end, never left over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.engine import Engine, spawn
from inference.engine.process import load_in_processes
from tests.engine.tiny import LINES, tiny_config

pytestmark = pytest.mark.service


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(spawn, "_spares", {})
    yield
    for spare in spawn._spares.values():
        spawn.end(spare)


@pytest.mark.parametrize(
    ("layout", "cores", "wanted"),
    [
        ("", 4, (4, 4)),
        ("", 1, (1, 1)),
        ("", 16, (16, 16)),
        ("", 17, (1, 17)),
        ("adaptive", 17, (17, 17)),
        ("latency", 4, (1, 4)),
        ("throughput", 4, (4, 1)),
    ],
)
def test_how_processes_share_the_cores(layout: str, cores: int, wanted: tuple[int, int]) -> None:
    assert spawn.lanes_for(cores, layout) == wanted


def test_the_prepared_process_serves_the_first_model_and_no_other(snapshot: Path) -> None:
    spawn.prepare()
    [spare] = spawn._spares.values()
    first, second = (load_in_processes(tiny_config(snapshot)) for _ in range(2))
    assert first[0]._group._children == [spare.child]
    assert second[0]._group._children[0].pid != spare.child.pid
    engine = Engine(first)
    engine.start()
    assert len(engine.ask(LINES)) == len(LINES)
    engine.close()
    for backend in second:
        backend.close()


def test_a_process_that_waited_too_long_is_ended_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    spawn.prepare()
    [spare] = spawn._spares.values()
    monkeypatch.setattr(spawn, "_FRESH_S", 0.0)
    taken = spawn.take(*spawn.lanes_for())
    assert spare.child.returncode is not None
    assert taken.child.pid != spare.child.pid
    spawn.end(taken)
    assert taken.child.returncode is not None
