"""An engine whose queue is in another process: the same answers, the same errors, nothing lost on the way."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.engine import (
    Answer,
    Classify,
    Compare,
    Embed,
    Engine,
    EngineBusy,
    EngineClosed,
    EngineDeadline,
    EngineLimits,
    Entail,
    Head,
    InferenceError,
    InferenceOutputError,
    Options,
    Rank,
    Tag,
)
from inference.engine.admission import Admission
from inference.engine.backend import Encoding
from inference.engine.dummy import DummyBackend
from inference.engine.errors import BackendLost, InferenceOutOfMemory
from inference.engine.job import Job
from inference.engine.remote import RemoteEngine, load_encoder
from inference.engine.wire import pack_answer, pack_error, pack_job, unpack_answer, unpack_error, unpack_job

NLI = ("contradiction", "neutral", "entailment")
TAGS = ("O", "B-PER", "I-PER")
CASES: dict[str, tuple[DummyBackend, list[Any], Options]] = {
    "classify": (DummyBackend(), ["one", "two three", "word " * 300], Classify()),
    "all scores": (DummyBackend(labels=("a", "b", "c")), ["one", "two three"], Classify(3)),
    "sigmoid": (DummyBackend(), ["one", "two"], Classify(2, "sigmoid")),
    "pairs": (DummyBackend(), [("one", "two"), ("three", "four five")], Classify()),
    "rank": (DummyBackend(labels=("relevance",)), [("one", "two"), ("one", "three")], Rank()),
    "entail": (DummyBackend(labels=NLI), [("one", "two"), ("one", "three")], Entail()),
    "tag": (DummyBackend(labels=TAGS, head=Head("tag")), ["Anna met Binh", "Hue"], Tag()),
    "embed": (DummyBackend(labels=(), head=Head("embed", size=8)), ["one", "two three"], Embed(True)),
    "compare": (DummyBackend(labels=(), head=Head("embed", size=8)), ["one", "two", "one"], Compare()),
}


@dataclass
class Wire:
    future: asyncio.Future[Answer]

    def drop(self) -> None:
        self.future.cancel()


class Wired:
    """The connection to an engine, without one: what would cross it crosses as bytes."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.open = engine, True

    def compute(self, body: bytes, read: Callable[[memoryview], Answer]) -> Wire:
        async def answer() -> Answer:
            done: Future[Job] = Future()
            try:
                self.engine.compute(unpack_job(memoryview(body)), done.set_result)
                job = await asyncio.wrap_future(done)
                if job.error is not None:
                    raise job.error
            except Exception as exc:
                raise unpack_error(memoryview(pack_error(exc))) from None
            return read(memoryview(pack_answer(job.rows, job.queue_ms, job.inference_ms)))

        return Wire(asyncio.ensure_future(answer()))

    def encode(self, body: bytes, timeout_s: float) -> bytes:
        encodings = self.engine.count_tokens(json.loads(body)["inputs"])
        return json.dumps([[e.input_ids, e.type_ids, e.truncated] for e in encodings]).encode()


def ask(engine: Engine, inputs: list[Any], options: Options, **change: Any) -> Answer:
    facts = engine.describe() | change

    async def run() -> Answer:
        encoder = load_encoder(facts, Path("none"))
        remote = RemoteEngine(Wired(engine), 7, facts, encoder, lambda: (0, facts["max_queued_inputs"]))
        prepared = remote.prepare(inputs, options)
        return await remote.enqueue_here(remote.admit(len(inputs)), prepared).future

    return asyncio.run(run())


@pytest.mark.parametrize("name", CASES)
def test_a_remote_engine_answers_as_the_engine_does(name: str) -> None:
    backend, inputs, options = CASES[name]
    engine = Engine(backend)
    engine.start()
    try:
        wanted = engine.ask(inputs, options)
        answer = ask(engine, inputs, options)
        assert (answer.results, answer.variant) == (wanted, engine.variant)
        if backend.head.kind != "tag":
            # The same where only the host can tokenise: then it is asked to.
            assert ask(engine, inputs, options, tokeniser=None).results == wanted
    finally:
        engine.close()


def test_a_remote_engine_never_makes_a_label_of_nan() -> None:
    class Broken(DummyBackend):
        broken = False

        def forward(self, batch: Any) -> Any:
            rows = super().forward(batch)
            return np.full_like(rows, np.nan) if self.broken else rows

    backend = Broken()
    engine = Engine(backend)
    engine.start()
    backend.broken = True
    with pytest.raises(InferenceOutputError):
        ask(engine, ["one"], Classify())
    engine.close()
    with pytest.raises(EngineClosed):
        ask(engine, ["one"], Classify())


def test_admit_reads_the_host_s_queue_and_refuses_before_any_work() -> None:
    queue = [0, 4]
    facts = Engine(DummyBackend(), limits=EngineLimits(max_queued_inputs=4)).describe()
    remote = RemoteEngine(
        Wired(Engine(DummyBackend())), 1, facts, DummyBackend(), lambda: (queue[0], queue[1])
    )
    remote.admit(4)
    queue[:] = [1, 4]
    with pytest.raises(EngineBusy):
        remote.admit(4)
    queue[:] = [0, 2]  # slow just now; into an empty queue a whole request goes all the same
    remote.admit(4)


def test_a_job_crosses_with_its_ids_types_and_deadline() -> None:
    encodings = [Encoding([1, 2**32 - 1, 3], [0, 1, 1], True), Encoding([5], [0], False)]
    job = unpack_job(memoryview(pack_job(9, encodings, 12.5)))
    assert (job.engine, job.deadline, job.batch.lengths.tolist()) == (9, 12.5, [3, 1])
    lists = job.batch.encodings()
    assert [(e.input_ids, e.type_ids) for e in lists] == [([1, 2**32 - 1, 3], [0, 1, 1]), ([5], [0])]
    plain = unpack_job(memoryview(pack_job(9, [replace(e, type_ids=[0] * len(e)) for e in encodings], None)))
    assert plain.batch.types is None and plain.deadline is None
    assert [e.type_ids for e in plain.batch.encodings()] == [[0, 0, 0], [0]]
    arrays = plain.batch.encodings(arrays=True)
    assert [e.input_ids[0] for e in arrays] == [1, 5] and [len(e.type_ids) for e in arrays] == [0, 0]


@pytest.mark.parametrize("cut", [0, 3, 15, 20])
def test_half_a_job_is_no_job(cut: int) -> None:
    with pytest.raises(ValueError):
        unpack_job(memoryview(pack_job(1, [Encoding([1, 2, 3], [0, 0, 0], False)], None)[:cut]))


def test_numbers_cross_unchanged() -> None:
    rows = (np.array([0.1, -2.5], np.float32), np.array([3.0, np.inf], np.float32))
    inputs, queue_ms, inference_ms, numbers = unpack_answer(memoryview(pack_answer(rows, 1.5, 2.5)))
    assert (inputs, queue_ms, inference_ms) == (2, 1.5, 2.5)
    assert numbers.tolist() == np.concatenate(rows).tolist()


@pytest.mark.parametrize(
    "error",
    [
        EngineBusy("x", retry_after_s=3),
        EngineClosed("x"),
        EngineDeadline("x"),
        BackendLost("x"),
        InferenceError("x"),
        InferenceOutOfMemory("x"),
        InferenceOutputError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_crosses_as_its_kind_and_without_its_message(error: Exception) -> None:
    raw = pack_error(type(error)("Nguyễn Văn A"))
    assert b"Nguy" not in raw
    again = unpack_error(memoryview(pack_error(error)))
    assert type(again) is type(error)
    assert getattr(again, "retry_after_s", None) == getattr(error, "retry_after_s", None)
    assert type(unpack_error(memoryview(pack_error(KeyError("x"))))) is InferenceError


# Admission by the pace of the queue


def test_no_more_wait_than_can_begin_in_time() -> None:
    admission = Admission(64, max_wait_s=2.0)
    assert admission.room == 64, "nothing is known yet"
    for _ in range(5):
        admission.served(1, 10, 0.5, crowded=True)
    assert admission.room == 30, "three quarters of two seconds at 20 a second"
    held = admission.take(30)
    with pytest.raises(EngineBusy):
        admission.take(1)
    room = [admission.has_room]
    held.release()
    assert [*room, admission.has_room] == [False, True]
    admission.take(64).release()  # into an empty queue whatever the limit allows
    for _ in range(5):
        admission.served(2, 10, 0.5, crowded=True)
    assert admission.room == 60, "a second lane"


def test_a_queue_that_is_emptied_is_not_slow() -> None:
    admission = Admission(64, max_wait_s=2.0)
    admission.served(1, 1, 60.0, crowded=True)  # a process that had to be started again, say
    assert admission.room == 1
    for _ in range(20):
        admission.served(1, 1, 0.1, crowded=False)
    assert admission.room == 64
    for _ in range(20):
        admission.served(1, 100, 0.1, crowded=True)
    assert admission.room == 64


def test_an_engine_learns_its_pace_from_its_batches() -> None:
    class Slow(DummyBackend):
        def forward(self, batch: Any) -> Any:
            if len(batch) > 2:  # not in the warm-up
                time.sleep(0.05 * len(batch))
            return super().forward(batch)

    limits = EngineLimits(max_queued_inputs=200, max_wait_s=5.0)
    engine = Engine(Slow(token_budget=4 * 3, max_length=8), limits=limits)
    engine.start()
    try:
        futures = [engine.submit(engine.admit(4), ["a", "b", "c", "d"]) for _ in range(5)]
        for future in futures:
            future.result(30)
        held = engine.admit(1)  # something waits
        with pytest.raises(EngineBusy):
            engine.admit(199)
        held.release()
    finally:
        engine.close()
