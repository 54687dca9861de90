"""One loaded model that many callers share: what the inference server holds for each revision it serves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future

from inference.engine.admission import Admission, Permit
from inference.engine.backend import Backend
from inference.engine.errors import EngineClosed, ModelLoadError
from inference.engine.types import Answer, EngineLimits
from inference.engine.validate import check_fits, check_texts, check_top_k
from inference.engine.warm_up import CANARY_TEXT, check_canary, run_canary, warm_up
from inference.engine.worker import Job, Worker


class Engine:
    """A backend behind admission and a queue.

    A request is `admit` (cheap, before any work for it) and then `submit` (tokenises in the calling thread:
    keep it off an event loop). `start` must have returned before.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        name: str = "engine",
        limits: EngineLimits | None = None,
        canary_reference: Sequence[float] | None = None,
    ) -> None:
        self.limits = limits or EngineLimits()
        self.canary: list[float] = list(canary_reference or [])
        self._backend = backend
        self._admission = Admission(self.limits.max_queued_inputs)
        self._worker = Worker(backend, self.limits, name)

    @property
    def labels(self) -> tuple[str, ...]:
        return self._backend.labels

    @property
    def device(self) -> str:
        return self._backend.device

    @property
    def max_length(self) -> int:
        return self._backend.max_length

    @property
    def alive(self) -> bool:
        """Whether the thread takes work. False for good once it is not."""
        return self._worker.alive

    @property
    def waiting_inputs(self) -> int:
        return self._admission.waiting

    def start(self) -> None:
        """Warm up, run the canary, begin to take work.

        The canary's answer is compared with the reference given to the constructor, or becomes the
        reference. Raises ModelLoadError (warm_up_failed, canary_failed).
        """
        self._worker.start(self._prepare)

    def admit(self, inputs: int) -> Permit:
        """Places in the queue for so many inputs. Raises EngineBusy. Every permit must reach `submit` or
        `release`."""
        return self._admission.take(inputs)

    def submit(
        self,
        permit: Permit,
        texts: Sequence[str],
        *,
        top_k: int | None = None,
        truncate: bool = True,
        deadline: float | None = None,
    ) -> Future[Answer]:
        """Tokenise and queue. `deadline` is on the clock of `time.monotonic()`.

        The future gives an Answer, or raises InferenceError, InferenceOutputError, EngineBusy,
        EngineDeadline or EngineClosed; cancelling it before its batch begins drops the work. This call
        itself raises InferenceInputError and EngineClosed; the permit is then free again.
        """
        try:
            checked = check_texts(texts)
            check_top_k(top_k)
            started = time.perf_counter()
            encodings = self._backend.encode(checked)
            if not truncate:
                check_fits([e.truncated for e in encodings], self._backend.max_length)
            spent_ms = (time.perf_counter() - started) * 1000
            job = Job(encodings, top_k, deadline, spent_ms, permit)
            # A caller that gives up while waiting frees its place at once, not when the worker finds it.
            job.future.add_done_callback(lambda _: permit.release())
            self._worker.put(job)
        except BaseException:
            permit.release()
            raise
        return job.future

    def classify(self, texts: Sequence[str], *, top_k: int | None = None, truncate: bool = True) -> Answer:
        """`admit`, `submit` and wait, for callers with a thread of their own."""
        return self.submit(self.admit(len(texts)), texts, top_k=top_k, truncate=truncate).result()

    def check(self, timeout_s: float = 30.0) -> None:
        """Send the canary through the queue like any request and compare it with the reference.

        Raises ModelLoadError (canary_failed), EngineClosed, or TimeoutError when the thread does not answer.
        """
        if not self.alive:
            raise EngineClosed("The engine's thread ended.")
        # Outside the queue's limit: a full queue is no sign of a sick model.
        permit = Admission(1).take(1)
        scores = self.submit(permit, [CANARY_TEXT], top_k=100).result(timeout_s).predictions[0].scores or ()
        by_label = {score.label: score.confidence for score in scores}
        if len(by_label) == len(self.labels):
            check_canary([by_label[label] for label in self.labels], self.canary)

    def close(self, timeout_s: float | None = None) -> None:
        """Answer what waits, end the thread, free the model. May be called twice."""
        self._worker.close(timeout_s)
        self._backend.close()

    def _prepare(self) -> None:
        try:
            warm_up(self._backend)
            scores = run_canary(self._backend)
            if self.canary:
                check_canary(scores, self.canary)
        except ModelLoadError:
            raise
        except Exception as exc:
            raise ModelLoadError(
                f"The warm-up failed ({type(exc).__name__}).", code="warm_up_failed"
            ) from exc
        self.canary = scores
