"""The host's process: it holds the models and their queues, and hands every connection to a web worker."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from contextlib import suppress

import uvicorn

from inference.engine.errors import describe_error
from inference.server.background import start_background, stop_background
from inference.server.garbage import look_seldom
from inference.server.loading import BackendLoader
from inference.server.settings import ServerSettings
from inference.server.state import build_state
from inference.server.workers.board import Board, new_board
from inference.server.workers.crew import Crew

logger = logging.getLogger(__name__)

_BACKLOG = 2048
# Connections taken in one go, before answers get their turn.
_AT_ONCE = 64
# Out of descriptors, say: the kernel keeps the rest while we wait for some to be closed.
_PAUSE_S = 0.1
# So long a connection waits for a worker that takes it off our hands.
_HOLD_S = 5.0


class Host:
    """One server: `stop` begins its drain, a second call cuts the wait short."""

    def __init__(
        self, settings: ServerSettings, load_backend: BackendLoader, listener: socket.socket
    ) -> None:
        self._settings, self._load_backend, self._listener = settings, load_backend, listener
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining, self._ending = asyncio.Event(), asyncio.Event()

    async def run(self) -> None:
        """Until `stop`; returns when every worker has ended and every engine is closed."""
        self._loop = asyncio.get_running_loop()
        settings = self._settings
        state = build_state(settings, self._load_backend, port=self._listener.getsockname()[1])
        board = Board(new_board())
        self.crew = Crew(state, state.fleet, board, settings.web_workers)
        self._listener.setblocking(False)
        try:
            await self.crew.start()
            start_background(state)
            taking = asyncio.create_task(self._take_connections())
            await self._draining.wait()
            logger.info("draining", extra={"delay_s": settings.drain_delay_s})
            # Not ready at once; requests are still taken for a moment, until balancers have noticed.
            state.draining = True
            self.crew.push()
            with suppress(TimeoutError):
                async with asyncio.timeout(settings.drain_delay_s):
                    await self._ending.wait()
            taking.cancel()
        finally:
            self._listener.close()
            await self.crew.stop(settings.drain_timeout_s + 5)
            await stop_background(state)
            os.close(board.fd)

    def stop(self) -> None:
        """From any thread, or a signal's handler."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        (self._ending if self._draining.is_set() else self._draining).set()

    async def _take_connections(self) -> None:
        """Hand them over, for ever; while no worker is up they wait in the kernel."""
        while True:
            try:
                if self.crew.takes:
                    await self._come()
                    await self._take()
                else:
                    await asyncio.sleep(0.01)
            except Exception as exc:
                logger.error("accept_failed", extra={"error": describe_error(exc)})
                await asyncio.sleep(_PAUSE_S)

    async def _come(self) -> None:
        """Until somebody wants to connect."""
        loop, come = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._listener, come.set)
        try:
            await come.wait()
        finally:
            loop.remove_reader(self._listener)

    async def _take(self) -> None:
        """Raises OSError when the system has no more descriptors, say."""
        for _ in range(_AT_ONCE):
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            with connection:
                until = time.monotonic() + _HOLD_S
                while not self.crew.give(connection) and time.monotonic() < until:
                    await asyncio.sleep(0.005)


def serve_with_workers(
    settings: ServerSettings, load_backend: BackendLoader, *, host: str, port: int
) -> None:
    """Serve until a signal; returns after the drain."""

    async def run() -> None:
        server = Host(settings, load_backend, listener)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, server._stop)
        await server.run()

    look_seldom()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with (
        socket.create_server((host, port), family=family, backlog=_BACKLOG) as listener,
        asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner,
    ):
        runner.run(run())
