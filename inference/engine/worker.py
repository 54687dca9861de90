"""The thread that runs forward passes: it takes everything that waits, at once, and answers everyone."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

from inference.engine.admission import Permit
from inference.engine.backend import Backend, Encoding
from inference.engine.errors import (
    EngineBusy,
    EngineClosed,
    EngineDeadline,
    InferenceError,
    describe_error,
)
from inference.engine.forward import run_batch
from inference.engine.plan import plan_batches
from inference.engine.postprocess import to_prediction
from inference.engine.types import Answer, EngineLimits, Prediction

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Job:
    """One request in the queue. Times are `time.monotonic()` seconds, durations ms."""

    encodings: Sequence[Encoding]
    top_k: int | None
    deadline: float | None
    tokenization_ms: float
    permit: Permit
    future: Future[Answer] = field(default_factory=Future)
    queued_at: float = field(default_factory=time.monotonic)
    queue_ms: float = 0.0
    inference_ms: float = 0.0
    done: dict[int, Prediction] = field(default_factory=dict)

    def fail(self, exc: Exception) -> None:
        self.permit.release()
        # Already answered, or the caller gave up: nobody is waiting.
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(exc)

    def finish(self) -> None:
        predictions = tuple(self.done[i] for i in range(len(self.encodings)))
        answer = Answer(
            predictions, round(self.tokenization_ms, 2), round(self.queue_ms, 2), round(self.inference_ms, 2)
        )
        self.future.set_result(answer)


class Worker:
    """One thread and its queue, for one backend.

    No timer: the moment the thread is free it drains the queue, so a lone request never waits for company
    and a crowd shares batches. Whatever happens in a batch, every job taken from the queue gets a result or
    an exception.
    """

    def __init__(self, backend: Backend, limits: EngineLimits, name: str) -> None:
        self._backend = backend
        self._limits = limits
        self._wake = threading.Condition()
        self._queue: deque[Job] = deque()
        self._open = True
        self._started: Future[None] = Future()
        self._prepare: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def alive(self) -> bool:
        return self._open and self._thread.is_alive()

    def start(self, prepare: Callable[[], None]) -> None:
        """Start the thread, run `prepare` in it (warm-up: some kernels are cached per thread), and wait for
        that.

        Raises what `prepare` raises; the thread has then ended.
        """
        self._prepare = prepare
        self._thread.start()
        self._started.result()

    def put(self, job: Job) -> None:
        """Queue the job. Raises EngineClosed."""
        with self._wake:
            if not self._open:
                raise EngineClosed("The engine is closed.")
            self._queue.append(job)
            self._wake.notify()

    def close(self, timeout_s: float | None = None) -> None:
        """Take no more, answer everything that waits, end the thread."""
        with self._wake:
            self._open = False
            self._wake.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self._prepare()
        except BaseException as exc:
            self._open = False
            self._started.set_exception(exc)
            return
        self._started.set_result(None)
        try:
            while taken := self._drain():
                self._serve(taken)
        finally:
            # Reached by close() with an empty queue, or by something that no batch can cause (interpreter
            # exit).
            with self._wake:
                self._open = False
                left = list(self._queue)
                self._queue.clear()
            for job in left:
                job.fail(EngineClosed("The engine's thread ended."))

    def _drain(self) -> list[Job]:
        """Every waiting job; empty once closed and drained."""
        with self._wake:
            self._wake.wait_for(lambda: self._queue or not self._open)
            taken = list(self._queue)
            self._queue.clear()
            return taken

    def _serve(self, taken: list[Job]) -> None:
        try:
            jobs = [job for job in taken if self._begin(job)]
            rows = [(job, i) for job in jobs for i in range(len(job.encodings))]
            for batch in plan_batches(
                [len(job.encodings[i]) for job, i in rows],
                max_rows=self._limits.max_rows,
                token_budget=self._limits.token_budget or self._backend.token_budget,
            ):
                self._run_rows([rows[i] for i in batch])
        except BaseException as exc:
            # Even a SystemExit from a library: it ends no thread but this one, and would leave the server
            # deaf.
            logger.error("engine_round_failed", extra={"error": describe_error(exc), "jobs": len(taken)})
            for job in taken:
                job.fail(InferenceError(f"The engine failed ({type(exc).__name__})."))

    def _begin(self, job: Job) -> bool:
        """Whether the job is still worth running; one that is not has been answered."""
        job.permit.release()
        now = time.monotonic()
        job.queue_ms = (now - job.queued_at) * 1000
        if not job.future.set_running_or_notify_cancel():
            return False
        if job.deadline is not None and now >= job.deadline:
            job.fail(EngineDeadline("The deadline passed while the request waited."))
        elif now - job.queued_at > self._limits.max_wait_s:
            job.fail(EngineBusy(f"The request waited longer than {self._limits.max_wait_s:g} s."))
        return not job.future.done()

    def _run_rows(self, rows: list[tuple[Job, int]]) -> None:
        """One batch. When it fails and several requests share it, each is run alone, so that only the
        guilty fail."""
        rows = [(job, i) for job, i in rows if not job.future.done()]
        jobs = list(dict.fromkeys(job for job, _ in rows))
        if not rows or self._past_deadline(jobs):
            # Some request fell out; run what is left (the recursion ends: each time fewer jobs remain).
            if any(not job.future.done() for job in jobs):
                self._run_rows(rows)
            return
        started = time.perf_counter()
        try:
            logits = run_batch(self._backend, [job.encodings[i] for job, i in rows])
        except InferenceError as exc:
            if len(jobs) == 1:
                jobs[0].fail(exc)
                return
            for job in jobs:
                self._run_rows([(owner, i) for owner, i in rows if owner is job])
            return
        spent_ms = (time.perf_counter() - started) * 1000
        for job in jobs:
            job.inference_ms += spent_ms
        for row, (job, i) in zip(logits, rows, strict=True):
            if job.future.done():
                continue
            try:
                job.done[i] = to_prediction(row, job.encodings[i], self._backend.labels, job.top_k)
            except InferenceError as exc:
                job.fail(exc)
                continue
            if len(job.done) == len(job.encodings):
                job.finish()

    def _past_deadline(self, jobs: Sequence[Job]) -> bool:
        """Answer the jobs whose deadline has passed; whether there was one."""
        now = time.monotonic()
        late = [job for job in jobs if job.deadline is not None and now >= job.deadline]
        for job in late:
            job.fail(EngineDeadline("The deadline passed while the request was being computed."))
        return bool(late)
