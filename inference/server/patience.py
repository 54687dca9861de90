"""Looks, twenty times a second while anyone waits, at who has waited too long: one timer for all requests, where each would
else set and cancel one of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from inference.server.http import Receive

LOOK_S = 0.05


class Waiter(Protocol):
    def look(self, now: float) -> None:
        """Called again and again, on the clock of `time.monotonic()`, until it is taken off the list."""


class Patience:
    """For one event loop."""

    def __init__(self) -> None:
        self._waiters: set[Waiter] = set()
        self._looking = False

    def add(self, waiter: Waiter) -> None:
        self._waiters.add(waiter)
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def discard(self, waiter: Waiter) -> None:
        self._waiters.discard(waiter)

    def _look(self) -> None:
        now = time.monotonic()
        for waiter in list(self._waiters):
            waiter.look(now)
        self._looking = bool(self._waiters)
        if self._looking:
            asyncio.get_running_loop().call_later(LOOK_S, self._look)


class TooLate(Exception):
    """The deadline came first."""


class HungUp(Exception):
    """The caller left first."""


class Watch:
    """Calls `stop` at the deadline or when the caller hangs up, and then says which in `ended_by`. A caller who hangs up
    is looked for only at the second look: most answers are there by then."""

    __slots__ = ("_gone", "_looks", "_receive", "_stop", "deadline", "ended_by")

    def __init__(self, deadline: float, stop: Callable[[], object], receive: Receive | None = None) -> None:
        self.deadline, self._stop, self._receive = deadline, stop, receive
        self.ended_by: Exception | None = None
        self._looks = 0
        self._gone: asyncio.Task[None] | None = None

    def look(self, now: float) -> None:
        if now >= self.deadline:
            self._end(TooLate())
            return
        self._looks += 1
        if self._looks == 2 and self._receive is not None:
            self._gone = asyncio.get_running_loop().create_task(_hung_up(self._receive))
            self._gone.add_done_callback(self._left)

    def close(self) -> None:
        if self._gone is not None:
            self._gone.cancel()

    def _left(self, gone: asyncio.Task[None]) -> None:
        if not gone.cancelled() and gone.exception() is None:
            self._end(HungUp())

    def _end(self, reason: Exception) -> None:
        if self.ended_by is None:
            self.ended_by = reason
            self._stop()


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
