"""Blocking work beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar, cast

T = TypeVar("T")


def in_thread(function: Callable[[], T]) -> asyncio.Future[T]:
    """Run the function in a daemon thread of its own. Unlike an executor's, it does not hold up the exit
    when the function hangs; to cancel the future does not stop it."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, exc: BaseException | None) -> None:
        if future.done():
            return
        if exc is not None:
            future.set_exception(exc)
        else:
            future.set_result(cast("T", result))

    def work() -> None:
        result, caught = None, None
        try:
            result = function()
        except BaseException as exc:
            caught = exc
        with suppress(RuntimeError):  # The loop may have closed meanwhile.
            loop.call_soon_threadsafe(settle, result, caught)

    threading.Thread(target=work, name="beside-loop", daemon=True).start()
    return future
