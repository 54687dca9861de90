"""How much may wait. Counted in inputs, so that one request of 32 texts takes the place of 32 requests of
one."""

from __future__ import annotations

import threading
from array import array
from collections.abc import MutableSequence

from inference.engine.errors import EngineBusy

# How much a batch that emptied the queue raises the estimate: the pace is at least that, and nobody knows more.
_GROWTH = 1.5
# Of the longest wait, how much a full queue may be expected to take: the pace is an estimate.
_SHARE = 0.75


class Admission:
    """Permits for inputs that wait for a forward pass. Thread-safe.

    At most `limit` wait, and no more than can be expected to begin within `max_wait_s` at the pace of the last
    batches: who would be told to come back after seconds in the queue is told so at once.
    """

    def __init__(self, limit: int, max_wait_s: float = float("inf")) -> None:
        self.limit, self._max_wait_s = limit, max_wait_s
        self.cells: MutableSequence[int] | memoryview[int] = array("q", [0, limit])
        # Where in the cells the number of those that wait stands, and how many may.
        self.at, self._room = 0, 1
        # Of the cells; permits take it, too.
        self.lock = threading.Lock()
        self._paces: dict[int, float] = {}

    @property
    def waiting(self) -> int:
        return self.cells[self.at]

    @property
    def room(self) -> int:
        """How many may wait just now."""
        return self.cells[self._room]

    @property
    def has_room(self) -> bool:
        """Whether one input more may wait."""
        return not is_full(self.waiting, self.room, self.limit, 1)

    def publish(self, cells: memoryview[int], waiting: int, room: int) -> None:
        """Keep both numbers in those cells from now on (memory that other processes read)."""
        with self.lock:
            cells[waiting], cells[room] = self.waiting, self.room
            self.cells, self.at, self._room = cells, waiting, room

    def take(self, inputs: int) -> Permit:
        """A permit for so many inputs. Raises EngineBusy when they do not fit now."""
        with self.lock:
            waiting = self.waiting
            if is_full(waiting, self.room, self.limit, inputs):
                raise EngineBusy(f"{waiting} inputs are waiting and at most {self.room} may.")
            self.cells[self.at] += inputs
        return Permit(self, inputs)

    def served(self, lane: int, inputs: int, spent_s: float, crowded: bool) -> None:
        """A lane computed so many inputs. Only a batch that left others waiting tells the pace; one that took all
        tells that it is no slower."""
        with self.lock:
            known = self._paces.get(lane)
            if crowded:
                pace = inputs / max(spent_s, 1e-6)
                self._paces[lane] = pace if known is None else (known + pace) / 2
            elif known is not None:
                self._paces[lane] = known * _GROWTH
            if self._paces:
                expected = sum(self._paces.values()) * self._max_wait_s * _SHARE
                self.cells[self._room] = int(min(self.limit, max(1, expected)))


def is_full(waiting: int, room: int, limit: int, inputs: int) -> bool:
    """Whether so many more may not wait. Into an empty queue goes whatever the limit allows."""
    return waiting + inputs > (room if waiting else limit)


class Permit:
    """Held from admission until each input's forward pass begins (or the request ends otherwise)."""

    __slots__ = ("_admission", "_held", "inputs")

    def __init__(self, admission: Admission, inputs: int) -> None:
        self.inputs = inputs
        self._admission = admission
        self._held = inputs

    def release(self, inputs: int | None = None) -> None:
        """Give places back: so many, or all that are left. May be called twice: the worker and the caller's
        clean-up both do."""
        if not self._held:
            return  # It never grows: nothing to give back, without asking for the lock.
        admission = self._admission
        with admission.lock:
            freed = self._held if inputs is None or inputs > self._held else inputs
            self._held -= freed
            admission.cells[admission.at] -= freed
