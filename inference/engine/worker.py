"""The threads that run forward passes: each takes the oldest inputs that fit, the moment it is free."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from inference.engine.backend import Backend
from inference.engine.budget import Budget
from inference.engine.errors import (
    EngineBusy,
    EngineClosed,
    EngineDeadline,
    InferenceError,
    InferenceOutOfMemory,
    describe_error,
)
from inference.engine.forward import run_batch
from inference.engine.job import Job
from inference.engine.plan import plan_batches
from inference.engine.types import EngineLimits

logger = logging.getLogger(__name__)

_PADDED_ROWS, _PACKED_ROWS = 64, 8192

Row = tuple[Job, int]
# A padding backend looks at so many batches' worth of waiting inputs at once to find like lengths.
_LOOK_AHEAD = 4


class Worker:
    """One queue of inputs, and a thread (a lane) for each backend that computes.

    No timer: the moment a lane is free it takes what waits, so a lone request never waits for company and a
    crowd shares batches. Whatever happens in a batch, every job gets a result or an exception.
    """

    def __init__(self, backends: Sequence[Backend], limits: EngineLimits, name: str) -> None:
        self._limits = limits
        self.max_rows = limits.max_rows or (_PADDED_ROWS if backends[0].pads else _PACKED_ROWS)
        self._lock = threading.Lock()
        self._queue: deque[Row] = deque()
        # Lanes that wait for work, by the lock on which each sleeps. (A condition would cost a tenth of a short request.)
        self._idle: list[threading.Lock] = []
        # Held while a batch's rows are handed to their jobs: two lanes may compute inputs of one.
        self.giving = threading.Lock()
        # Closed by `close`, and when the last lane's thread ends.
        self._open, self._begun = True, False
        # Told after each round: lane, inputs, seconds, and whether others were left waiting when it began.
        self.served: Callable[[int, int, float, bool], None] = lambda *_: None
        self._lanes = [
            _Lane(self, backend, limits, name if number == 0 else f"{name}-{number}")
            for number, backend in enumerate(backends)
        ]

    @property
    def alive(self) -> bool:
        return self._open and self._begun

    def start(self, prepare: Callable[[Backend], None]) -> None:
        """Start the threads, run `prepare` in each (warm-up: some kernels are cached per thread), and wait
        for that.

        Raises what `prepare` raises first; every thread has then ended.
        """
        for lane in self._lanes:
            lane.prepare = prepare
            lane.thread.start()
        try:
            for lane in self._lanes:
                lane.started.result()
        except BaseException:
            self.close()
            raise
        self._begun = True

    def put(self, job: Job) -> None:
        """Queue the job's inputs. Raises EngineClosed."""
        with self._lock:
            if not self._open:
                raise EngineClosed("The engine is closed.")
            self._queue.extend([(job, i) for i in range(len(job.encodings))])
            self._wake()

    def close(self, timeout_s: float | None = None) -> None:
        """Take no more, answer everything that waits, end the threads."""
        with self._lock:
            self._open = False
            self._wake()
        for lane in self._lanes:
            if lane.thread.ident is not None:
                lane.thread.join(timeout_s)

    def take(self, tokens: int, sleep: threading.Lock) -> tuple[list[Row], bool]:
        """The oldest inputs worth computing, at most so many tokens (but one at least), and whether others were
        left waiting; no inputs once closed and drained. `sleep` is the calling lane's own lock, held."""
        while True:
            with self._lock:
                rows = self._take(tokens)
                if rows or not self._open:
                    return rows, bool(self._queue)
                self._idle.append(sleep)
            sleep.acquire()

    def _take(self, tokens: int) -> list[Row]:
        rows: list[Row] = []
        queue, room, most = self._queue, tokens, self.max_rows * _LOOK_AHEAD
        while queue and len(rows) < most:
            job, i = queue[0]
            length = len(job.encodings[i])
            if rows and length > room:
                break
            queue.popleft()
            job.permit.release(1)
            if self._worth_running(job):
                rows.append((job, i))
                room -= length
        return rows

    def _wake(self) -> None:
        """Every lane that sleeps; called with the lock."""
        while self._idle:
            self._idle.pop().release()

    def abandon(self) -> None:
        """A lane's thread ended: when it was the last one, answer what is left."""
        with self._lock:
            if any(lane.thread.is_alive() and not lane.ended for lane in self._lanes):
                return
            self._open = False
            left = list(self._queue)
            self._queue.clear()
        for job, _ in left:
            job.fail(EngineClosed("The engine's thread ended."))

    def _worth_running(self, job: Job) -> bool:
        """Whether the job still waits for an answer; one that is late has been told so."""
        if job.ended:
            return False
        if job.started_at is None:
            now = job.started_at = time.monotonic()
            if job.deadline is not None and now >= job.deadline:
                job.fail(EngineDeadline("The deadline passed while the request waited."))
            elif now - job.queued_at > self._limits.max_wait_s:
                job.fail(EngineBusy(f"The request waited longer than {self._limits.max_wait_s:g} s."))
        return not job.ended


class _Lane:
    """One backend and the thread that drives it."""

    def __init__(self, worker: Worker, backend: Backend, limits: EngineLimits, name: str) -> None:
        self._worker = worker
        self._backend = backend
        self._limits = limits
        self._budget = Budget(limits.token_budget or backend.token_budget, least=backend.max_length)
        self.prepare: Callable[[Backend], None] = lambda _: None
        self.started: Future[None] = Future()
        self.ended = False
        self._sleep = threading.Lock()
        self._sleep.acquire()
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        try:
            self.prepare(self._backend)
        except BaseException as exc:
            self.ended = True
            self.started.set_exception(exc)
            return
        self.started.set_result(None)
        try:
            while True:
                rows, crowded = self._worker.take(
                    self._budget.tokens * (_LOOK_AHEAD if self._backend.pads else 1), self._sleep
                )
                if not rows:
                    break
                began = time.perf_counter()
                self._serve(rows)
                self._worker.served(id(self), len(rows), time.perf_counter() - began, crowded)
        finally:
            # Reached by close() with an empty queue, or by something that no batch can cause (interpreter
            # exit).
            self.ended = True
            self._worker.abandon()

    def _serve(self, rows: list[Row]) -> None:
        try:
            for batch in plan_batches(
                [len(job.encodings[i]) for job, i in rows],
                max_rows=self._worker.max_rows,
                token_budget=self._budget.tokens,
                pads=self._backend.pads,
            ):
                self._run_rows([rows[i] for i in batch])
        except BaseException as exc:
            # Even a SystemExit from a library: it ends no thread but this one, and would leave the server
            # deaf.
            logger.error("engine_round_failed", extra={"error": describe_error(exc), "inputs": len(rows)})
            for job, _ in rows:
                job.fail(InferenceError(f"The engine failed ({type(exc).__name__})."))

    def _run_rows(self, rows: list[Row]) -> None:
        """One batch. When it fails it is cut in halves, and those again, until only the guilty inputs are
        left."""
        rows = [(job, i) for job, i in rows if not job.ended and not self._is_late(job)]
        if not rows:
            return
        started = time.perf_counter()
        try:
            answers = run_batch(self._backend, [job.encodings[i] for job, i in rows])
        except InferenceError as exc:
            if isinstance(exc, InferenceOutOfMemory):
                self._budget.shrink(sum(len(job.encodings[i]) for job, i in rows))
            if len(rows) == 1:
                rows[0][0].fail(exc)
                return
            middle = len(rows) // 2
            self._run_rows(rows[:middle])
            self._run_rows(rows[middle:])
            return
        self._budget.grow()
        spent_ms = (time.perf_counter() - started) * 1000
        with self._worker.giving:
            for job in {job for job, _ in rows}:
                job.inference_ms += spent_ms
            whole = [job for row, (job, i) in zip(answers, rows, strict=True) if job.give(i, row)]
        for job in whole:
            job.finish()

    def _is_late(self, job: Job) -> bool:
        """Whether the job's deadline has passed; it has been told so."""
        if job.deadline is None or time.monotonic() < job.deadline:
            return False
        job.fail(EngineDeadline("The deadline passed while the request was being computed."))
        return True
