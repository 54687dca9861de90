"""One loaded model that many callers share: what the inference server holds for each revision it serves."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import asdict
from typing import Any

from inference.engine.admission import Admission, Permit
from inference.engine.backend import Backend, Encoding
from inference.engine.errors import EngineClosed, ModelLoadError
from inference.engine.inbox import Inbox, Pending, Waiting, hand_out
from inference.engine.job import Job
from inference.engine.prepared import Prepared, prepare
from inference.engine.remote import describe_tokeniser
from inference.engine.tasks import Classify, Head, Input, Options
from inference.engine.types import Answer, EngineLimits, Result, Variant
from inference.engine.validate import check_inputs
from inference.engine.warm_up import CANARY_TEXT, check_canary, signature, warm_up
from inference.engine.wire import RemoteJob
from inference.engine.worker import Worker


class Engine:
    """A backend (or several copies of one, each computing beside the others) behind admission and a queue.

    A request is `admit` (cheap, before any work for it) and then `submit` (tokenises in the calling thread:
    keep it off an event loop). `start` must have returned before. With a `loop`, backends that allow it
    (`LoopBackend`) are driven by that event loop; every other one by a thread.
    """

    def __init__(
        self,
        backend: Backend | Sequence[Backend],
        *,
        name: str = "engine",
        limits: EngineLimits | None = None,
        canary_reference: Sequence[float] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.limits = limits or EngineLimits()
        self.canary: list[float] = list(canary_reference or [])
        self._backends: list[Backend] = list(backend) if isinstance(backend, Sequence) else [backend]
        self._backend = self._backends[0]
        self._admission = Admission(self.limits.max_queued_inputs, self.limits.max_wait_s)
        self._worker = Worker(self._backends, self.limits, name, loop)
        self._worker.served = self._admission.served
        self._inbox: Inbox[Waiting] | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        return self._backend.labels

    @property
    def head(self) -> Head:
        return self._backend.head

    @property
    def variant(self) -> Variant:
        return self._backend.variant

    @property
    def device(self) -> str:
        return self._backend.device

    @property
    def max_length(self) -> int:
        return self._backend.max_length

    @property
    def token_budget(self) -> int:
        """The most tokens of one forward pass."""
        return self.limits.token_budget or self._backend.token_budget

    @property
    def alive(self) -> bool:
        """Whether a lane takes work. False for good once none does."""
        return self._worker.alive

    @property
    def encodes_here(self) -> bool:
        """Whether `prepare` may run on an event loop (short texts: under a millisecond)."""
        return True

    @property
    def waiting_inputs(self) -> int:
        return self._admission.waiting

    def start(self) -> None:
        """Warm up, run the canary, begin to take work. Not to be called on the event loop that drives it.

        The canary's answer is compared with the reference given to the constructor, or becomes the
        reference. Raises ModelLoadError (warm_up_failed, canary_failed).
        """
        self._worker.start(self._prepare)

    @property
    def has_room(self) -> bool:
        """Whether one input more may wait: asked before a request is read."""
        return self._admission.has_room

    def admit(self, inputs: int) -> Permit:
        """Places in the queue for so many inputs. Raises EngineBusy. Every permit must reach `submit` or
        `release`."""
        return self._admission.take(inputs)

    def submit(
        self,
        permit: Permit,
        inputs: Sequence[Input],
        options: Options | None = None,
        *,
        top_k: int | None = None,
        truncate: bool = True,
        deadline: float | None = None,
    ) -> Future[Answer]:
        """Tokenise and queue. Without `options` it is `Classify(top_k)`. `deadline` is on the clock of
        `time.monotonic()`.

        The future gives an Answer, or raises InferenceError, InferenceOutputError, EngineBusy,
        EngineDeadline or EngineClosed; cancelling it drops what is not computed yet. This call itself raises
        InferenceInputError and EngineClosed; the permit is then free again.
        """
        chosen = options if options is not None else Classify(top_k)
        try:
            prepared = self.prepare(check_inputs(inputs), chosen, truncate=truncate)
        except BaseException:
            permit.release()
            raise
        return self.enqueue(permit, prepared, deadline=deadline)

    def prepare(self, inputs: Sequence[Input], options: Options, *, truncate: bool = True) -> Prepared:
        """The first half of `submit`, from any thread: tokenised. `inputs` are as `check_inputs` gives them.
        Raises InferenceInputError."""
        return prepare(self._backend, inputs, options, truncate=truncate)

    def enqueue(self, permit: Permit, prepared: Prepared, *, deadline: float | None = None) -> Future[Answer]:
        """The other half, which costs nothing worth a thread. Raises EngineClosed; the permit is then free."""
        future: Future[Answer] = Future()

        def settle(job: Job) -> None:
            # The caller may cancel just now; nobody is waiting then.
            with contextlib.suppress(InvalidStateError):
                try:
                    future.set_result(self._answer(prepared, job))
                except Exception as exc:
                    future.set_exception(exc)

        job = self._put(permit, prepared.encodings, deadline, settle)
        future.add_done_callback(lambda done: job.drop() if done.cancelled() else None)
        return future

    def enqueue_here(self, permit: Permit, prepared: Prepared, *, deadline: float | None = None) -> Pending:
        """As `enqueue`, for a caller on an event loop."""
        if self._inbox is None or self._inbox.thread != threading.get_ident():
            self._inbox = Inbox(hand_out)
        waiting = Waiting(self._inbox, lambda job: self._answer(prepared, job))
        waiting.job = self._put(permit, prepared.encodings, deadline, waiting.put)
        return waiting

    def compute(self, job: RemoteJob, on_done: Callable[[Job], None]) -> Job:
        """A request that another process tokenised: `on_done` gets the backend's arrays as they come, from a thread
        of the engine or on its event loop. Raises EngineBusy, EngineClosed."""
        permit = self.admit(len(job.batch.lengths))
        encodings = job.batch.encodings(arrays=getattr(self._backend, "takes_arrays", False))
        return self._put(permit, encodings, job.deadline, on_done)

    def _put(
        self,
        permit: Permit,
        encodings: Sequence[Encoding],
        deadline: float | None,
        on_done: Callable[[Job], None],
    ) -> Job:
        job = Job(encodings, deadline, permit, on_done)
        try:
            self._worker.put(job)
        except BaseException:
            permit.release()
            raise
        return job

    def _answer(self, prepared: Prepared, job: Job) -> Answer:
        if job.error is not None:
            raise job.error
        return prepared.answer(job.rows, self._backend.variant, job.queue_ms, job.inference_ms)

    def describe(self) -> dict[str, Any]:
        """What a `RemoteEngine` in another process must know, as JSON."""
        return {
            "labels": list(self.labels),
            "head": asdict(self.head),
            "variant": asdict(self.variant),
            "max_length": self.max_length,
            "token_budget": self.token_budget,
            "max_queued_inputs": self.limits.max_queued_inputs,
            "tokeniser": describe_tokeniser(self._backend),
        }

    def publish_waiting(self, cells: memoryview[int], waiting: int, room: int) -> None:
        """From now on the inputs that wait, and how many may, stand in those cells, where other processes read
        them."""
        self._admission.publish(cells, waiting, room)

    def ask(
        self, inputs: Sequence[Input], options: Options | None = None, *, truncate: bool = True
    ) -> tuple[Result, ...]:
        """`admit`, `submit` and wait: the results, for callers with a thread of their own."""
        return self.submit(self.admit(len(inputs)), inputs, options, truncate=truncate).result().results

    def classify(self, texts: Sequence[Input], *, top_k: int | None = None, truncate: bool = True) -> Answer:
        """`admit`, `submit` and wait: the whole answer of a classification."""
        return self.submit(self.admit(len(texts)), texts, top_k=top_k, truncate=truncate).result()

    def count_tokens(self, inputs: Sequence[Input]) -> list[Encoding]:
        """The encodings alone, cut at `max_length`. Raises InferenceInputError."""
        return self._backend.encode(check_inputs(inputs))

    def check(self, timeout_s: float = 30.0) -> None:
        """Send the canary through the queue like any request and compare it with the reference.

        Raises ModelLoadError (canary_failed), EngineClosed, or TimeoutError when it does not answer.
        """
        if not self.alive:
            raise EngineClosed("The engine has ended.")
        # Outside the queue's limit: a full queue is no sign of a sick model.
        permit = Admission(1).take(1)
        done: Future[Job] = Future()
        self._put(permit, self._backend.encode([CANARY_TEXT]), None, done.set_result)
        job = done.result(timeout_s)
        if job.error is not None:
            raise job.error
        check_canary(signature(job.rows[0], self.head), self.canary, self.variant.dtype)

    def close(self, timeout_s: float | None = None) -> None:
        """Answer what waits, end the lanes, free the model. May be called twice; not on the event loop that drives
        it."""
        self._worker.close(timeout_s)
        for backend in self._backends:
            backend.close()

    def _prepare(self, backend: Backend) -> None:
        try:
            scores = warm_up(backend)
            if self.canary:
                check_canary(scores, self.canary, self.variant.dtype)
        except ModelLoadError:
            raise
        except Exception as exc:
            raise ModelLoadError(
                f"The warm-up failed ({type(exc).__name__}).", code="warm_up_failed"
            ) from exc
        self.canary = scores
