"""A backend as an event loop drives it: the forward pass runs beside the loop, here in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from inference.engine import Encoding
from inference.engine.backend import Numbers


class Elsewhere:
    """Implements `LoopBackend` around any backend."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    async def attach(self, done: Callable[[Numbers | BaseException], None]) -> None:
        self._loop, self._done = asyncio.get_running_loop(), done

    def begin(self, batch: Sequence[Encoding]) -> None:
        threading.Thread(target=self._compute, args=(batch,), daemon=True).start()

    def _compute(self, batch: Sequence[Encoding]) -> None:
        try:
            answer = self._backend.forward(batch)
        except BaseException as exc:
            answer = exc
        with contextlib.suppress(RuntimeError):  # The test is over.
            self._loop.call_soon_threadsafe(self._done, answer)


@contextlib.contextmanager
def loop_in_thread() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
