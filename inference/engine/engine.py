"""One loaded model that many callers share: what the inference server holds for each revision it serves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.engine.admission import Admission, Permit
from inference.engine.backend import Backend, Encoding
from inference.engine.errors import EngineClosed, ModelLoadError
from inference.engine.job import Job
from inference.engine.postprocess import finish, row_finisher
from inference.engine.tasks import Classify, Head, Input, Options, check_options
from inference.engine.types import Answer, EngineLimits, Result, Variant
from inference.engine.validate import check_fits, check_inputs
from inference.engine.warm_up import CANARY_TEXT, check_canary, run_canary, signature, warm_up
from inference.engine.worker import Worker


class Engine:
    """A backend (or several copies of one, each computing beside the others) behind admission and a queue.

    A request is `admit` (cheap, before any work for it) and then `submit` (tokenises in the calling thread:
    keep it off an event loop). `start` must have returned before.
    """

    def __init__(
        self,
        backend: Backend | Sequence[Backend],
        *,
        name: str = "engine",
        limits: EngineLimits | None = None,
        canary_reference: Sequence[float] | None = None,
    ) -> None:
        self.limits = limits or EngineLimits()
        self.canary: list[float] = list(canary_reference or [])
        self._backends: list[Backend] = list(backend) if isinstance(backend, Sequence) else [backend]
        self._backend = self._backends[0]
        self._admission = Admission(self.limits.max_queued_inputs)
        self._worker = Worker(self._backends, self.limits, name)

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
        """Whether a thread takes work. False for good once none does."""
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
            checked = check_inputs(inputs)
            check_options(chosen, self.head, len(checked))
            return self._queue(
                permit,
                checked,
                row_finisher(chosen, self._backend),
                lambda results: finish(chosen, results),
                truncate=truncate,
                deadline=deadline,
            )
        except BaseException:
            permit.release()
            raise

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

        Raises ModelLoadError (canary_failed), EngineClosed, or TimeoutError when the thread does not answer.
        """
        if not self.alive:
            raise EngineClosed("The engine's thread ended.")
        # Outside the queue's limit: a full queue is no sign of a sick model.
        permit = Admission(1).take(1)
        answer = self._queue(
            permit, [CANARY_TEXT], lambda row, _: signature(row, self.head), lambda scores: tuple(scores)
        ).result(timeout_s)
        scores: Any = answer.results[0]
        check_canary(scores, self.canary, self.variant.dtype)

    def close(self, timeout_s: float | None = None) -> None:
        """Answer what waits, end the threads, free the model. May be called twice."""
        self._worker.close(timeout_s)
        for backend in self._backends:
            backend.close()

    def _queue(
        self,
        permit: Permit,
        inputs: Sequence[Input],
        to_result: Callable[[NDArray[np.float32], Encoding], Any],
        finish_job: Callable[[Sequence[Any]], tuple[Result, ...]],
        *,
        truncate: bool = True,
        deadline: float | None = None,
    ) -> Future[Answer]:
        started = time.perf_counter()
        encodings = self._backend.encode(inputs)
        if not truncate:
            check_fits([e.truncated for e in encodings], self._backend.max_length)
        spent_ms = (time.perf_counter() - started) * 1000
        job = Job(encodings, to_result, finish_job, self.variant, deadline, spent_ms, permit)
        # A caller that gives up while waiting frees its place at once, not when a thread finds it.
        job.future.add_done_callback(lambda _: permit.release())
        self._worker.put(job)
        return job.future

    def _prepare(self, backend: Backend) -> None:
        try:
            warm_up(backend)
            scores = run_canary(backend)
            if self.canary:
                check_canary(scores, self.canary, self.variant.dtype)
        except ModelLoadError:
            raise
        except Exception as exc:
            raise ModelLoadError(
                f"The warm-up failed ({type(exc).__name__}).", code="warm_up_failed"
            ) from exc
        self.canary = scores
