"""How much may wait. Counted in inputs, so that one request of 32 texts takes the place of 32 requests of
one."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, MutableSequence

from inference.engine.errors import EngineBusy

# An estimate of the pace is made anew over at least so long.
_SPAN_S = 0.2
# Of the longest wait, how much a full queue may be expected to take: the pace is an estimate.
_SHARE = 0.75


class Admission:
    """Permits for inputs that wait for a forward pass. Thread-safe.

    At most `limit` wait, and no more than can be expected to begin within `max_wait_s` at the pace at which the
    queue was emptied lately: who would be told to come back after seconds in the queue is told so at once.
    """

    def __init__(
        self, limit: int, max_wait_s: float = float("inf"), *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limit, self._max_wait_s, self._clock = limit, max_wait_s, clock
        self._cells: MutableSequence[int] | memoryview[int] = array("q", [0, limit])
        self._waiting, self._room = 0, 1
        self._lock = threading.Lock()
        self._pace = float("inf")
        self._began, self._begun = 0.0, 0

    @property
    def waiting(self) -> int:
        return self._cells[self._waiting]

    @property
    def room(self) -> int:
        """How many may wait just now."""
        return self._cells[self._room]

    def check_room(self) -> None:
        """Raise EngineBusy when not one input more may wait: before any work for it."""
        if is_full(self.waiting, self.room, self.limit, 1):
            raise EngineBusy("The queue is full.")

    def publish(self, cells: memoryview[int], waiting: int, room: int) -> None:
        """Keep both numbers in those cells from now on (memory that other processes read)."""
        with self._lock:
            cells[waiting], cells[room] = self.waiting, self.room
            self._cells, self._waiting, self._room = cells, waiting, room

    def take(self, inputs: int) -> Permit:
        """A permit for so many inputs. Raises EngineBusy when they do not fit now."""
        with self._lock:
            waiting = self.waiting
            if is_full(waiting, self.room, self.limit, inputs):
                raise EngineBusy(f"{waiting} inputs are waiting and at most {self.room} may.")
            if not waiting:
                self._began, self._begun = self._clock(), 0
            self._cells[self._waiting] += inputs
        return Permit(self, inputs)

    def _give_back(self, inputs: int, *, begun: bool) -> None:
        with self._lock:
            self._cells[self._waiting] -= inputs
            if begun:
                self._measure(inputs)

    def _measure(self, inputs: int) -> None:
        """Inputs left the queue to be computed. Only a queue that was never empty meanwhile tells a pace; one
        that ran empty tells that it is no slower than that."""
        now = self._clock()
        spent = max(now - self._began, 1e-6)
        if spent >= _SPAN_S and self._begun:
            measured = self._begun / spent
            self._pace = measured if self._pace == float("inf") else (self._pace + measured) / 2
            self._began, self._begun = now, 0
        self._begun += inputs
        if not self.waiting:
            self._pace = max(self._pace, self._begun / spent)
        expected = self._pace * self._max_wait_s * _SHARE
        self._cells[self._room] = int(min(self.limit, max(1, expected)))


def is_full(waiting: int, room: int, limit: int, inputs: int) -> bool:
    """Whether so many more may not wait. Into an empty queue goes whatever the limit allows."""
    return waiting + inputs > (room if waiting else limit)


class Permit:
    """Held from admission until each input's forward pass begins (or the request ends otherwise)."""

    def __init__(self, admission: Admission, inputs: int) -> None:
        self.inputs = inputs
        self._admission = admission
        self._lock = threading.Lock()
        self._held = inputs

    def release(self, inputs: int | None = None) -> None:
        """Give places back: so many, whose forward pass begins, or all that are left. May be called twice: the
        worker and the caller's clean-up both do."""
        with self._lock:
            freed = self._held if inputs is None else min(inputs, self._held)
            self._held -= freed
        if freed:
            self._admission._give_back(freed, begun=inputs is not None)
