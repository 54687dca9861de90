"""What the engine has for an event loop: one wake-up for all answers of a batch."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from inference.engine.job import Job
from inference.engine.types import Answer

T = TypeVar("T")


class Pending(Protocol):
    """A request that was queued from an event loop."""

    @property
    def future(self) -> asyncio.Future[Answer]: ...

    def drop(self) -> None:
        """Nobody waits any more: what is not computed yet never is. To be called unless the future is done."""


class Inbox(Generic[T]):
    """For the event loop on which it is made: `take` gets there, in its order, what has come since."""

    def __init__(self, take: Callable[[list[T]], None]) -> None:
        self.loop, self.thread = asyncio.get_running_loop(), threading.get_ident()
        self._take = take
        self._ready: deque[T] = deque()
        self._told = False

    def put(self, item: T) -> None:
        """From any thread."""
        self._ready.append(item)
        if not self._told:
            self._told = True
            if threading.get_ident() == self.thread:
                self.loop.call_soon(self._hand_out)
                return
            with contextlib.suppress(RuntimeError):  # The loop has ended: nobody waits any more.
                self.loop.call_soon_threadsafe(self._hand_out)

    def _hand_out(self) -> None:
        # First: what is put from now on gets a wake-up of its own.
        self._told = False
        items = []
        while self._ready:
            items.append(self._ready.popleft())
        self._take(items)


def hand_out(answered: list[Waiting]) -> None:
    for waiting in answered:
        waiting.hand_out()


class Waiting:
    """Implements `Pending` for a job of this process. `read` makes its answer, or raises."""

    __slots__ = ("_inbox", "_read", "future", "job")

    def __init__(self, inbox: Inbox[Waiting], read: Callable[[Job], Answer]) -> None:
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
