"""Answers of the engine's threads, on an event loop: one wake-up for all answers of a batch."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Protocol

from inference.engine.job import Job
from inference.engine.types import Answer


class Pending(Protocol):
    """A request that was queued from an event loop."""

    @property
    def future(self) -> asyncio.Future[Answer]: ...

    def drop(self) -> None:
        """Nobody waits any more: what is not computed yet never is. To be called unless the future is done."""


class Inbox:
    """For the event loop on which it is made."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._ready: deque[Waiting] = deque()
        self._told = False

    def put(self, waiting: Waiting) -> None:
        """From any thread."""
        self._ready.append(waiting)
        if not self._told:
            self._told = True
            with contextlib.suppress(RuntimeError):  # The loop has ended: nobody waits any more.
                self.loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        # First: what is put from now on gets a wake-up of its own.
        self._told = False
        while self._ready:
            self._ready.popleft().hand_out()


class Waiting:
    """Implements `Pending` for a job of this process. `read` makes its answer, or raises."""

    __slots__ = ("_inbox", "_read", "future", "job")

    def __init__(self, inbox: Inbox, read: Callable[[Job], Answer]) -> None:
        self._inbox, self._read = inbox, read
        self.future: asyncio.Future[Answer] = inbox.loop.create_future()
        self.job: Job

    def put(self, job: Job) -> None:
        self.job = job
        self._inbox.put(self)

    def drop(self) -> None:
        self.job.drop()

    def hand_out(self) -> None:
        if self.future.done():
            return
        try:
            self.future.set_result(self._read(self.job))
        except Exception as exc:
            self.future.set_exception(exc)
