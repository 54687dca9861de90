"""How much may wait. Counted in inputs, so that one request of 32 texts takes the place of 32 requests of
one."""

from __future__ import annotations

import threading

from inference.engine.errors import EngineBusy


class Admission:
    """Permits for inputs that wait for a forward pass. Thread-safe."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._waiting = 0
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        return self._waiting

    def take(self, inputs: int) -> Permit:
        """A permit for so many inputs. Raises EngineBusy when they do not fit now."""
        with self._lock:
            if self._waiting + inputs > self.limit:
                raise EngineBusy(f"{self._waiting} inputs are waiting and at most {self.limit} may.")
            self._waiting += inputs
        return Permit(self, inputs)

    def _give_back(self, inputs: int) -> None:
        with self._lock:
            self._waiting -= inputs


class Permit:
    """Held from admission until each input's forward pass begins (or the request ends otherwise)."""

    def __init__(self, admission: Admission, inputs: int) -> None:
        self.inputs = inputs
        self._admission = admission
        self._lock = threading.Lock()
        self._held = inputs

    def release(self, inputs: int | None = None) -> None:
        """Give places back: so many, or all that are left. May be called twice: the worker and the caller's
        clean-up both do."""
        with self._lock:
            freed = self._held if inputs is None else min(inputs, self._held)
            self._held -= freed
        if freed:
            self._admission._give_back(freed)
