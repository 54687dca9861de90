"""The queue: bounded, shared, and nobody is ever left waiting."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.engine import (
    Classify,
    Compare,
    Embed,
    Encoding,
    Engine,
    EngineBusy,
    EngineClosed,
    EngineDeadline,
    EngineLimits,
    Head,
    InferenceError,
    InferenceInputError,
    InferenceOutputError,
    Input,
    ModelLoadError,
    Options,
    Rank,
    Tag,
)
from inference.engine.dummy import DummyBackend
from tests.engine.elsewhere import Elsewhere, loop_in_thread

BAD = "boom"


@dataclass
class GateBackend(DummyBackend):
    """A dummy whose forward pass waits for a gate once it is armed, and fails on a marked word."""

    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    armed: bool = False
    batches: list[int] = field(default_factory=list)
    poison: float | None = None

    def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
        self.batches.append(len(batch))
        if self.armed:
            self.entered.set()
            assert self.gate.wait(10)
        marks = [bool(set(e.input_ids) & set(self.encode([BAD])[0].input_ids[1:-1])) for e in batch]
        logits = super().forward(batch)
        if any(marks):
            if self.poison is None:
                raise RuntimeError("forward failed")
            logits[np.array(marks)] = self.poison
        return logits


@pytest.fixture(params=["thread", "loop"], autouse=True)
def driver(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every rule here holds whoever drives the backend: a thread, or an event loop for which it computes elsewhere."""
    global _loop
    if request.param == "thread":
        yield
        return
    with loop_in_thread() as _loop:
        yield
    _loop = None


_loop: asyncio.AbstractEventLoop | None = None


def made(backend: DummyBackend, **options: Any) -> Engine:
    return Engine(backend if _loop is None else Elsewhere(backend), loop=_loop, **options)


@contextmanager
def running(backend: DummyBackend, **limits: Any) -> Iterator[Engine]:
    engine = made(backend, limits=EngineLimits(**limits))
    engine.start()
    try:
        yield engine
    finally:
        if isinstance(backend, GateBackend):
            backend.gate.set()
        engine.close(5)


@contextmanager
def held(**limits: object) -> Iterator[tuple[Engine, GateBackend]]:
    """An engine whose thread is busy with one text until the gate opens, so that more pile up behind it."""
    backend = GateBackend()
    with running(backend, **limits) as engine:
        backend.batches.clear()
        backend.armed = True
        engine.submit(engine.admit(1), ["first"])
        assert backend.entered.wait(5)
        yield engine, backend


def test_answer_carries_predictions_and_stages() -> None:
    with running(DummyBackend()) as engine:
        answer = engine.classify(["good", "very good indeed"], top_k=2)
    assert [p.token_count for p in answer.predictions] == [3, 5]
    assert answer.predictions[0].scores is not None
    assert min(answer.tokenization_ms, answer.queue_ms, answer.inference_ms) >= 0


def test_waiting_requests_share_one_batch() -> None:
    with held() as (engine, backend):
        futures = [engine.submit(engine.admit(1), [f"word{i}"]) for i in range(10)]
        backend.gate.set()
        for future in futures:
            assert len(future.result(5).predictions) == 1
        assert backend.batches == [1, 10]


def test_shared_batches_give_each_request_its_own_answer() -> None:
    texts = [[f"word{i}", f"other{i} " * (i + 1)] for i in range(20)]
    alone = DummyBackend()
    with held() as (engine, backend):
        futures = [engine.submit(engine.admit(2), pair) for pair in texts]
        backend.gate.set()
        for pair, future in zip(texts, futures, strict=True):
            logits = alone.forward(alone.encode(pair))
            expected = [alone.labels[int(row.argmax())] for row in logits]
            assert [p.label for p in future.result(5).predictions] == expected


def test_full_queue_is_refused_at_once_and_frees_again() -> None:
    with held(max_queued_inputs=4) as (engine, backend):
        future = engine.submit(engine.admit(3), ["a", "b", "c"])
        with pytest.raises(EngineBusy) as caught:
            engine.admit(2)
        assert caught.value.retry_after_s >= 1
        engine.admit(1).release()
        backend.gate.set()
        future.result(5)
        assert engine.waiting_inputs == 0


def test_a_permit_is_free_again_after_every_kind_of_end() -> None:
    with held(max_queued_inputs=8) as (engine, backend):
        with pytest.raises(InferenceInputError):
            engine.submit(engine.admit(1), [""])
        cancelled = engine.submit(engine.admit(2), ["a", "b"])
        assert engine.waiting_inputs == 2
        assert cancelled.cancel()
        assert engine.waiting_inputs == 0
        late = engine.submit(engine.admit(1), ["late"], deadline=time.monotonic())
        backend.gate.set()
        with pytest.raises(EngineDeadline):
            late.result(5)
        assert engine.waiting_inputs == 0


def test_cancelled_work_is_never_run() -> None:
    with held() as (engine, backend):
        dropped = engine.submit(engine.admit(1), ["dropped"])
        kept = engine.submit(engine.admit(1), ["kept"])
        dropped.cancel()
        backend.gate.set()
        kept.result(5)
        assert backend.batches == [1, 1]


def test_a_request_that_waited_too_long_is_told_to_come_back() -> None:
    with held(max_wait_s=0.01) as (engine, backend):
        future = engine.submit(engine.admit(1), ["patient"])
        time.sleep(0.05)
        backend.gate.set()
        with pytest.raises(EngineBusy):
            future.result(5)


def test_a_failing_batch_fails_only_the_guilty_request() -> None:
    with held() as (engine, backend):
        good = [engine.submit(engine.admit(1), [f"word{i}"]) for i in range(3)]
        guilty = engine.submit(engine.admit(2), ["fine", BAD])
        backend.gate.set()
        with pytest.raises(InferenceError):
            guilty.result(5)
        for future in good:
            assert future.result(5).predictions
        assert engine.alive
        assert engine.classify(["after"]).predictions


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_a_non_finite_answer_fails_only_its_request(poison: float) -> None:
    with held() as (engine, backend):
        backend.poison = poison
        good = engine.submit(engine.admit(1), ["good"])
        guilty = engine.submit(engine.admit(1), [BAD])
        backend.gate.set()
        with pytest.raises(InferenceOutputError):
            guilty.result(5)
        assert good.result(5).predictions


def test_close_answers_what_waits_and_then_refuses() -> None:
    with held() as (engine, backend):
        waiting = [engine.submit(engine.admit(1), ["waiting"]) for _ in range(5)]
        closer = threading.Thread(target=engine.close)
        closer.start()
        backend.gate.set()
        closer.join(5)
        assert all(future.result(0).predictions for future in waiting)
        assert not engine.alive
        with pytest.raises(EngineClosed):
            engine.submit(engine.admit(1), ["late"])
        assert engine.waiting_inputs == 0


def test_the_thread_outlives_even_a_system_exit() -> None:
    class Exiting(GateBackend):
        def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
            if self.armed:
                self.armed = False
                raise SystemExit
            return super().forward(batch)

    backend = Exiting()
    with running(backend) as engine:
        backend.armed = True
        with pytest.raises(InferenceError):
            engine.classify(["first"])
        assert engine.alive
        assert engine.classify(["second"]).predictions


def test_start_fails_typed_and_ends_its_thread() -> None:
    class Sick(DummyBackend):
        def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
            return np.full((len(batch), 2), np.nan, dtype=np.float32)

    engine = made(Sick())
    with pytest.raises(ModelLoadError) as caught:
        engine.start()
    assert caught.value.code == "warm_up_failed"
    engine.close(5)
    assert not engine.alive


def test_start_refuses_a_model_that_left_its_reference() -> None:
    with running(DummyBackend()) as engine:
        reference = engine.canary
    other = made(DummyBackend(salt=1), canary_reference=reference)
    with pytest.raises(ModelLoadError) as caught:
        other.start()
    assert caught.value.code == "canary_failed"
    other.close(5)


def test_start_refuses_a_model_that_looks_at_its_neighbours() -> None:
    class Leaky(DummyBackend):
        def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
            return super().forward(batch) * len(batch)

    engine = made(Leaky())
    with pytest.raises(ModelLoadError, match="when run alone"):
        engine.start()
    engine.close(5)


def test_check_passes_on_a_healthy_engine_and_fails_on_a_drifted_one() -> None:
    backend = DummyBackend()
    with running(backend) as engine:
        engine.check(5)
        backend.salt = 1
        with pytest.raises(ModelLoadError):
            engine.check(5)


def test_submit_refuses_bad_input_in_the_caller() -> None:
    with running(DummyBackend()) as engine:
        with pytest.raises(InferenceInputError):
            engine.classify([])
        with pytest.raises(InferenceInputError):
            engine.submit(engine.admit(1), ["word " * 500], truncate=False)
        assert engine.waiting_inputs == 0


def test_hammered_engine_answers_or_refuses_everyone() -> None:
    """More callers than places: each call ends in an answer or in EngineBusy, and the queue is empty
    afterwards."""
    outcomes: list[str] = []

    def call(engine: Engine, name: str) -> None:
        for i in range(50):
            try:
                answer = engine.classify([f"{name} {i}"])
                outcomes.append("ok" if len(answer.predictions) == 1 else "wrong")
            except EngineBusy:
                outcomes.append("busy")

    with running(DummyBackend(), max_queued_inputs=4) as engine:
        threads = [threading.Thread(target=call, args=(engine, f"caller{n}")) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert engine.waiting_inputs == 0
    assert len(outcomes) == 800
    assert set(outcomes) <= {"ok", "busy"}
    assert "ok" in outcomes


def test_a_request_of_many_texts_is_cut_into_batches_by_tokens() -> None:
    with held(token_budget=20) as (engine, backend):
        many = engine.submit(engine.admit(12), ["three token words"] * 12)
        single = engine.submit(engine.admit(1), ["single"])
        backend.gate.set()
        assert len(many.result(5).predictions) == 12
        assert single.result(5).predictions
        assert backend.batches == [1, 4, 4, 4, 1]


def test_cancelling_half_way_drops_the_rest() -> None:
    with held(token_budget=8) as (engine, backend):
        first = engine.submit(engine.admit(3), ["a b c", "d e f", "g h i"])
        backend.gate.set()
        while len(backend.batches) < 2:
            time.sleep(0.001)
        backend.gate.clear()
        backend.entered.clear()
        done = len(backend.batches)
        first.cancel()
        backend.gate.set()
        assert engine.classify(["after"]).predictions
        assert engine.waiting_inputs == 0
        assert len(backend.batches) <= done + 2


def test_a_poisoned_input_is_found_by_halving() -> None:
    with held(max_rows=64, max_queued_inputs=64) as (engine, backend):
        good = [engine.submit(engine.admit(1), [f"word{i}"]) for i in range(31)]
        guilty = engine.submit(engine.admit(1), [BAD])
        backend.gate.set()
        with pytest.raises(InferenceError):
            guilty.result(5)
        assert all(future.result(5).predictions for future in good)
        assert len(backend.batches) <= 2 + 2 * 5, "by halves: two batches for each power of two"


def test_out_of_memory_takes_smaller_batches_and_recovers() -> None:
    @dataclass
    class Small(GateBackend):
        room: int = 1000

        def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
            if self.armed and sum(len(e) for e in batch) > self.room:
                self.batches.append(-len(batch))
                raise MemoryError
            return super().forward(batch)

    backend = Small(max_length=16, token_budget=64)
    with running(backend, max_queued_inputs=200) as engine:
        backend.armed, backend.room = True, 24
        backend.gate.set()
        backend.batches.clear()
        assert len(engine.classify(["a b"] * 60).predictions) == 60
        assert min(backend.batches) < 0, "it did run out"
        failed = sum(1 for rows in backend.batches if rows < 0)
        backend.batches.clear()
        assert len(engine.classify(["a b"] * 60).predictions) == 60
        assert sum(1 for rows in backend.batches if rows < 0) < failed, "it learned"
        backend.room = 1000
        for _ in range(120):
            engine.classify(["a b"])
        backend.batches.clear()
        assert len(engine.classify(["a b"] * 60).predictions) == 60
        assert max(backend.batches) == 16, "64 tokens of 4 each: the whole budget again"
        engine.check(5)


def test_memory_that_never_suffices_is_an_error_of_the_input() -> None:
    class Full(GateBackend):
        def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
            if self.armed:
                raise MemoryError
            return super().forward(batch)

    backend = Full()
    with running(backend) as engine:
        backend.armed = True
        with pytest.raises(InferenceError) as caught:
            engine.classify(["one", "two"])
        assert caught.value.code == "out_of_memory"
        backend.armed = False
        engine.check(5)


@pytest.mark.parametrize(
    ("kind", "fits"),
    [("classify", (Classify, Rank)), ("tag", (Tag,)), ("embed", (Embed, Compare))],
)
@pytest.mark.parametrize("options", [Classify(), Rank(), Tag(), Embed(), Compare()])
def test_each_head_answers_its_own_questions(kind: Any, fits: tuple[type, ...], options: Options) -> None:
    labels = () if kind == "embed" else ("O", "B-X")
    backend = DummyBackend(labels=labels, head=Head(kind, size=4))
    with running(backend) as engine:
        if isinstance(options, fits):
            inputs: list[Input] = [("a", "b"), ("a", "c")] if isinstance(options, Rank) else ["a", "b c"]
            assert len(engine.ask(inputs, options)) == (1 if isinstance(options, Compare) else 2)
        else:
            with pytest.raises(InferenceInputError) as caught:
                engine.ask(["a", "b"], options)
            assert caught.value.code == "wrong_task"
        assert engine.waiting_inputs == 0


def test_canary_is_exact_after_overload() -> None:
    """Ten times what fits: refused at once, and afterwards every answer is as before."""
    with running(DummyBackend(), max_queued_inputs=8) as engine:
        before = engine.classify(["the canary"], top_k=2).predictions
        refused = 0
        futures = []
        for i in range(800):
            try:
                futures.append(engine.submit(engine.admit(1), [f"flood {i}"]))
            except EngineBusy:
                refused += 1
        for future in futures:
            future.result(5)
        engine.check(5)
        assert engine.classify(["the canary"], top_k=2).predictions == before
        assert len(futures) + refused == 800
