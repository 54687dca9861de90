"""Who drives a backend: a thread, or an event loop where the model computes elsewhere. What a lane does with its inputs is
the same in both."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import NamedTuple, Protocol, cast

from inference.engine.backend import Backend, Encoding, LoopBackend, Numbers, WideBackend
from inference.engine.budget import Budget
from inference.engine.errors import EngineDeadline, InferenceError, InferenceOutOfMemory, describe_error
from inference.engine.forward import begin_batch, read_batch, run_batch
from inference.engine.job import Job
from inference.engine.plan import plan_batches
from inference.engine.types import EngineLimits

logger = logging.getLogger(__name__)

Row = tuple[Job, int]
# Gives batches to be computed, gets their numbers or what went wrong.
Round = Generator[list[Encoding], Numbers, None]

# A padding backend looks at so many batches' worth of waiting inputs at once to find like lengths.
LOOK_AHEAD = 4


class Taken(NamedTuple):
    """The oldest inputs worth computing, at most the lane's tokens (but one input at least); none once the source is closed
    and drained. `crowded`: others were left waiting. `wide`: with all cores, for no other lane computes meanwhile."""

    rows: list[Row]
    crowded: bool
    wide: bool


class Source(Protocol):
    """Where a lane's inputs come from: the worker."""

    max_rows: int
    # Held while a batch's rows are handed to their jobs: two lanes may compute inputs of one.
    giving: threading.Lock
    # Told after each round: lane, inputs, seconds, and whether others were left waiting when it began.
    served: Callable[[int, int, float, bool], None]

    def take(self, lane: Lane) -> Taken | None:
        """What the lane computes next; what it had before is done. None when there is nothing for it now: it is woken when
        there is."""

    def abandon(self) -> None:
        """A lane has ended."""


class Lane:
    """One backend and what drives it. `started` gets what `prepare` raises in `start`."""

    def __init__(self, source: Source, backend: Backend, limits: EngineLimits, name: str) -> None:
        self._source, self._backend = source, backend
        self.widens = getattr(backend, "most_threads", 1) > 1
        self._budget = Budget(limits.token_budget or backend.token_budget, least=backend.max_length)
        self.prepare: Callable[[Backend], None] = lambda _: None
        self.started: Future[None] = Future()
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, prepare: Callable[[Backend], None]) -> None:
        """Run `prepare` (warm-up: some kernels are cached per thread), then take work."""
        self.prepare = prepare
        self.thread.start()

    def join(self, timeout_s: float | None) -> None:
        """Until the lane has ended, which it does once the source is closed and drained."""
        if self.thread.ident is not None:
            self.ended.wait(timeout_s)

    def _run(self) -> None:
        """The lane's thread."""
        raise NotImplementedError

    def wake(self) -> None:
        """There are inputs; from any thread."""
        raise NotImplementedError

    @property
    def tokens(self) -> int:
        """For how many tokens to take inputs."""
        return self._budget.tokens * (LOOK_AHEAD if self._backend.pads else 1)

    def _spread(self, *, wide: bool) -> None:
        if self.widens:
            cast(WideBackend, self._backend).spread(wide=wide)

    def _prepared(self) -> bool:
        """Whether the lane may take work; `started` knows why not."""
        try:
            self.prepare(self._backend)
        except BaseException as exc:
            self._fail(exc)
            return False
        return True

    def _fail(self, exc: BaseException) -> None:
        """The lane will take no work."""
        logger.error("engine_lane_failed", extra={"lane": self.thread.name, "error": describe_error(exc)})
        self.ended.set()
        self.started.set_exception(exc)

    def _end(self) -> None:
        self.ended.set()
        self._source.abandon()

    def _round(self, rows: list[Row]) -> Round:
        """Whatever happens, every job of the rows gets a result or an exception."""
        try:
            for batch in plan_batches(
                [len(job.encodings[i]) for job, i in rows],
                max_rows=self._source.max_rows,
                token_budget=self._budget.tokens,
                pads=self._backend.pads,
            ):
                yield from self._compute([rows[i] for i in batch])
        except BaseException as exc:
            # Even a SystemExit from a library: it ends no thread but this one, and would leave the server
            # deaf.
            logger.error("engine_round_failed", extra={"error": describe_error(exc), "inputs": len(rows)})
            for job, _ in rows:
                job.fail(InferenceError(f"The engine failed ({type(exc).__name__})."))

    def _compute(self, rows: list[Row]) -> Round:
        """One batch. When it fails it is cut in halves, and those again, until only the guilty inputs are
        left."""
        rows = [(job, i) for job, i in rows if not job.ended and not _is_late(job)]
        if not rows:
            return
        started = time.perf_counter()
        try:
            answers = yield [job.encodings[i] for job, i in rows]
        except InferenceError as exc:
            if isinstance(exc, InferenceOutOfMemory):
                self._budget.shrink(sum(len(job.encodings[i]) for job, i in rows))
            if len(rows) == 1:
                rows[0][0].fail(exc)
                return
            middle = len(rows) // 2
            yield from self._compute(rows[:middle])
            yield from self._compute(rows[middle:])
            return
        self._budget.grow()
        spent_ms = (time.perf_counter() - started) * 1000
        with self._source.giving:
            for job in {job for job, _ in rows}:
                job.inference_ms += spent_ms
            whole = [job for row, (job, i) in zip(answers, rows, strict=True) if job.give(i, row)]
        for job in whole:
            job.finish()


class ThreadLane(Lane):
    """The thread sleeps until there are inputs, and computes."""

    def __init__(self, source: Source, backend: Backend, limits: EngineLimits, name: str) -> None:
        super().__init__(source, backend, limits, name)
        # Held by the thread; who lets it go wakes it. (A condition would cost a tenth of a short request.)
        self._sleep = threading.Lock()
        self._sleep.acquire()

    def _run(self) -> None:
        if not self._prepared():
            return
        self.started.set_result(None)
        try:
            while True:
                taken = self._source.take(self)
                if taken is None:
                    self._sleep.acquire()
                    continue
                rows, crowded, wide = taken
                if not rows:
                    break
                self._spread(wide=wide)
                began = time.perf_counter()
                self._serve(self._round(rows))
                self._source.served(id(self), len(rows), time.perf_counter() - began, crowded)
        finally:
            # Reached by close() with an empty queue, or by something that no batch can cause (interpreter
            # exit).
            self._end()

    def wake(self) -> None:
        self._sleep.release()

    def _serve(self, round_: Round) -> None:
        with contextlib.suppress(StopIteration):
            batch = next(round_)
            while True:
                try:
                    answers = run_batch(self._backend, batch)
                except BaseException as exc:
                    batch = round_.throw(exc)
                else:
                    batch = round_.send(answers)


class LoopLane(Lane):
    """The event loop begins a batch and goes on with other things until its numbers come. A thread only prepares."""

    _backend: LoopBackend

    def __init__(
        self,
        source: Source,
        backend: LoopBackend,
        limits: EngineLimits,
        name: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(source, backend, limits, name)
        self._loop = loop
        self._loop_thread = 0
        self._rows: list[Row] = []
        self._batch: list[Encoding] = []
        self._began, self._crowded = 0.0, False
        self._running: Round | None = None

    def _run(self) -> None:
        if not self._prepared():
            return
        try:
            asyncio.run_coroutine_threadsafe(self._attach(), self._loop).result()
        except BaseException as exc:
            self._fail(exc)
            return
        self.started.set_result(None)

    def join(self, timeout_s: float | None) -> None:
        if not self._loop.is_running():
            self._end()  # The loop went first; nobody can be answered any more.
        super().join(timeout_s)

    async def _attach(self) -> None:
        self._loop_thread = threading.get_ident()
        await self._backend.attach(self._answered)
        self._go()

    def wake(self) -> None:
        if threading.get_ident() == self._loop_thread:
            # Not at once: what else comes in this turn of the loop shares the batch.
            self._loop.call_soon(self._go)
        else:
            with contextlib.suppress(RuntimeError):  # The loop has ended, and with it everyone who waited.
                self._loop.call_soon_threadsafe(self._go)

    def _go(self) -> None:
        """Rounds, until one has to be waited for or there are no inputs."""
        while self._running is None:
            taken = self._source.take(self)
            if taken is None:
                return
            self._rows, self._crowded, wide = taken
            if not self._rows:
                self._end()
                return
            self._spread(wide=wide)
            self._began = time.perf_counter()
            self._running = self._round(self._rows)
            self._advance(None)

    def _advance(self, answer: Numbers | BaseException | None) -> None:
        """Batch after batch of the round, until one has to be waited for."""
        round_ = self._running
        assert round_ is not None
        try:
            while True:
                self._batch = (
                    round_.throw(answer) if isinstance(answer, BaseException) else round_.send(answer)  # type: ignore[arg-type]
                )
                try:
                    answer = begin_batch(self._backend, self._batch)
                except BaseException as exc:
                    answer = exc
                if answer is None:
                    return
        except StopIteration:
            self._running = None
            spent_s, inputs = time.perf_counter() - self._began, len(self._rows)
            self._rows, self._batch = [], []
            self._source.served(id(self), inputs, spent_s, self._crowded)

    def _answered(self, answer: Numbers | BaseException) -> None:
        """The backend has the batch's numbers, or what went wrong."""
        if self._running is None:
            return  # An answer that nobody asked for.
        try:
            answer = read_batch(self._backend, self._batch, answer)
        except BaseException as exc:
            answer = exc
        self._advance(answer)
        self._go()


def _is_late(job: Job) -> bool:
    """Whether the job's deadline has passed; it has been told so."""
    if job.deadline is None or time.monotonic() < job.deadline:
        return False
    job.fail(EngineDeadline("The deadline passed while the request was being computed."))
    return True
