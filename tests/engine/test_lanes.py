"""Who computes what: several lanes share a machine's cores, and the first has them all while the others rest."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.engine import Encoding, Engine, EngineClosed, ModelLoadError
from inference.engine.dummy import DummyBackend
from tests.engine.elsewhere import Elsewhere, loop_in_thread


@dataclass
class LaneBackend(DummyBackend):
    """Waits in each forward pass for its gate, once it is armed; notes how many inputs it got and with all cores or not."""

    most_threads: int = 1
    armed: bool = False
    gate: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    began: list[tuple[int, bool]] = field(default_factory=list)
    wide: bool = True

    def spread(self, *, wide: bool) -> None:
        self.wide = wide

    def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
        if self.armed:
            self.began.append((len(batch), self.most_threads > 1 and self.wide))
            assert self.gate.acquire(timeout=10)
        return super().forward(batch)


Made = tuple[Engine, list[LaneBackend]]


@pytest.fixture(params=["thread", "loop"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[[int], Made]]:
    """An engine with so many lanes, of which the first may have all cores."""
    engines: list[Made] = []
    loop: asyncio.AbstractEventLoop | None = None

    def made(lanes: int) -> Made:
        backends = [LaneBackend(most_threads=4 if lane == 0 else 1) for lane in range(lanes)]
        driven = backends if loop is None else [Elsewhere(backend) for backend in backends]
        engine = Engine(driven, loop=loop)
        engine.start()
        for lane in engine._worker._lanes:
            lane.started.result(5)
        while len(engine._worker._ready) < lanes:
            time.sleep(0.005)
        for backend in backends:
            backend.armed = True
        engines.append((engine, backends))
        return engine, backends

    def scene(running: asyncio.AbstractEventLoop | None) -> Iterator[Callable[[int], Made]]:
        nonlocal loop
        loop = running
        yield made
        for engine, backends in engines:
            for backend in backends:
                backend.armed = False
                backend.gate.release(100)
            engine.close(5)

    if request.param == "thread":
        yield from scene(None)
    else:
        with loop_in_thread() as running:
            yield from scene(running)


def ask(engine: Engine, inputs: int) -> None:
    engine.submit(engine.admit(inputs), [f"word{i}" for i in range(inputs)])


def begun(backends: list[LaneBackend], wanted: list[list[tuple[int, bool]]]) -> None:
    """Every lane has begun exactly that: (inputs, with all cores)."""
    until = time.monotonic() + 5
    while (found := [b.began for b in backends]) != wanted:
        assert time.monotonic() < until, found
        time.sleep(0.005)
    time.sleep(0.05)
    assert [b.began for b in backends] == wanted


def test_a_lone_input_gets_all_cores(make: Callable[[int], Made]) -> None:
    engine, backends = make(3)
    for turn in range(1, 4):
        ask(engine, 1)
        begun(backends, [[(1, True)] * turn, [], []])
        backends[0].gate.release()
        while engine._worker._running:
            time.sleep(0.005)


def test_fewer_inputs_than_lanes_share_one_batch_on_all_cores(make: Callable[[int], Made]) -> None:
    engine, backends = make(3)
    ask(engine, 2)
    begun(backends, [[(2, True)], [], []])


@pytest.mark.parametrize(("inputs", "parts"), [(3, [1, 1, 1]), (9, [3, 3, 3])])
def test_a_crowd_is_shared_out_a_core_each(
    make: Callable[[int], Made], inputs: int, parts: list[int]
) -> None:
    engine, backends = make(3)
    ask(engine, inputs)
    begun(backends, [[(part, False)] for part in parts])


def test_nobody_computes_beside_one_that_has_all_cores(make: Callable[[int], Made]) -> None:
    engine, backends = make(2)
    ask(engine, 1)
    begun(backends, [[(1, True)], []])
    ask(engine, 4)
    begun(backends, [[(1, True)], []])
    backends[0].gate.release()
    begun(backends, [[(1, True), (2, False)], [(2, False)]])


def test_a_lane_that_is_free_while_another_computes_takes_one_core(make: Callable[[int], Made]) -> None:
    engine, backends = make(2)
    ask(engine, 2)
    begun(backends, [[(1, False)], [(1, False)]])
    backends[0].gate.release()
    ask(engine, 1)
    begun(backends, [[(1, False), (1, False)], [(1, False)]])


def test_what_waits_is_answered_when_the_engine_closes_under_a_wide_batch(
    make: Callable[[int], Made],
) -> None:
    engine, backends = make(2)
    ask(engine, 1)
    begun(backends, [[(1, True)], []])
    waiting = [engine.submit(engine.admit(1), [f"w{i}"]) for i in range(5)]
    closing = threading.Thread(target=engine.close)
    closing.start()
    for backend in backends:
        backend.gate.release(10)
    closing.join(5)
    assert not closing.is_alive()
    assert [len(one.result(1).results) for one in waiting] == [1] * 5
    with pytest.raises(EngineClosed):
        engine.submit(engine.admit(1), ["late"])


@pytest.mark.parametrize("lanes", [2, 3])
def test_a_lane_that_cannot_be_prepared_is_done_without(lanes: int, caplog: pytest.LogCaptureFixture) -> None:
    class Sick(LaneBackend):
        def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
            raise RuntimeError("no memory")

    backends = [LaneBackend(most_threads=4), Sick(), *[LaneBackend() for _ in range(lanes - 2)]]
    engine = Engine(backends)
    engine.start()
    with pytest.raises(ModelLoadError):
        engine._worker._lanes[1].started.result(5)
    assert [record.message for record in caplog.records].count("engine_lane_failed") == 1
    assert len(engine.ask([f"word{i}" for i in range(20)])) == 20
    engine.close(5)
    with pytest.raises(ModelLoadError):
        Engine([Sick(), LaneBackend()]).start()


def test_one_lane_is_never_told_how_wide_it_is() -> None:
    backend = LaneBackend()
    engine = Engine(backend)
    engine.start()
    backend.wide = True
    engine.ask(["a", "b", "c"])
    assert backend.wide
    engine.close()
