"""One request in the queue, until it is answered."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.engine.admission import Permit
from inference.engine.backend import Encoding
from inference.engine.errors import InferenceError
from inference.engine.types import Answer, Result, Variant


@dataclass(eq=False)
class Job:
    """Times are `time.monotonic()` seconds, durations ms. The future stays cancellable until the answer is
    there: a caller that gives up costs nothing more, even when half of its inputs are computed."""

    encodings: Sequence[Encoding]
    to_result: Callable[[NDArray[np.float32], Encoding], Any]
    finish: Callable[[Sequence[Any]], tuple[Result, ...]]
    variant: Variant
    deadline: float | None
    tokenization_ms: float
    permit: Permit
    future: Future[Answer] = field(default_factory=Future)
    queued_at: float = field(default_factory=time.monotonic)
    started_at: float | None = None
    inference_ms: float = 0.0
    _done: dict[int, Any] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def give(self, index: int, row: NDArray[np.float32]) -> None:
        """One input's numbers. The last one answers the request; no answer in them (NaN) fails it."""
        if self.future.done():
            return
        try:
            result = self.to_result(row, self.encodings[index])
        except InferenceError as exc:
            self.fail(exc)
            return
        with self._lock:
            self._done[index] = result
            whole = len(self._done) == len(self.encodings)
        if whole:
            self._answer()

    def fail(self, exc: Exception) -> None:
        self.permit.release()
        # Already answered, or the caller gave up: nobody is waiting.
        with contextlib.suppress(InvalidStateError):
            self.future.set_exception(exc)

    def _answer(self) -> None:
        started = self.queued_at if self.started_at is None else self.started_at
        answer = Answer(
            self.finish([self._done[i] for i in range(len(self.encodings))]),
            self.variant,
            round(self.tokenization_ms, 2),
            round((started - self.queued_at) * 1000, 2),
            round(self.inference_ms, 2),
        )
        with contextlib.suppress(InvalidStateError):
            self.future.set_result(answer)
