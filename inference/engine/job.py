"""One request in the queue, until it is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.engine.admission import Permit
from inference.engine.backend import Encoding


class Job:
    """Times are `time.monotonic()` seconds, durations ms.

    It ends once: with `rows` (one array an input, as the backend gave them), with an `error`, or dropped by a
    caller who gave up; `on_done` is told of the first two, by a thread of the engine. Dropping is possible until
    then: who gives up costs nothing more, even when half of the inputs are computed.
    """

    __slots__ = (
        "_ended", "_left", "deadline", "encodings", "error", "inference_ms", "on_done", "permit", "queued_at", "rows",
        "started_at",
    )  # fmt: skip

    def __init__(
        self,
        encodings: Sequence[Encoding],
        deadline: float | None,
        permit: Permit,
        on_done: Callable[[Job], None],
    ) -> None:
        self.encodings, self.deadline, self.permit, self.on_done = encodings, deadline, permit, on_done
        self.rows: list[Any] = [None] * len(encodings)
        self.error: Exception | None = None
        self.queued_at = time.monotonic()
        self.started_at: float | None = None
        self.inference_ms = 0.0
        self._left = len(encodings)
        # Taken once, by whoever ends the job: the cheapest test-and-set that threads share.
        self._ended = threading.Lock()

    @property
    def ended(self) -> bool:
        return self._ended.locked()

    @property
    def queue_ms(self) -> float:
        return ((self.queued_at if self.started_at is None else self.started_at) - self.queued_at) * 1000

    def give(self, index: int, row: NDArray[np.float32]) -> bool:
        """One input's numbers; whether they were the last ones. The caller sees to it that no two threads give at
        once, and tells `finish` of whole jobs."""
        self.rows[index] = row
        self._left -= 1
        return self._left == 0

    def finish(self) -> None:
        """All rows are there."""
        if self._ended.acquire(blocking=False):
            self._tell()

    def fail(self, exc: Exception) -> None:
        """Nothing when it has ended: answered already, or the caller gave up and nobody is waiting."""
        if self._ended.acquire(blocking=False):
            self.error = exc
            self.permit.release()
            self._tell()

    def drop(self) -> None:
        """Nobody waits any more. Its place in the queue is free at once, not when a thread finds it."""
        if self._ended.acquire(blocking=False):
            self.permit.release()
            self.on_done = _nobody

    def _tell(self) -> None:
        # Whoever is told holds the job, too: let go, or only the search for garbage would find the two.
        told, self.on_done = self.on_done, _nobody
        told(self)


def _nobody(job: Job) -> None:
    pass
