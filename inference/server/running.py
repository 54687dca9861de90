"""uvicorn with a drain: on SIGTERM the readiness goes first, the socket later, the process last."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from types import FrameType
from typing import Any

import uvicorn

from inference.server.app import Application, create_app
from inference.server.connections import Connection
from inference.server.garbage import look_seldom
from inference.server.loading import BackendLoader
from inference.server.settings import ServerSettings

logger = logging.getLogger(__name__)


class LookingServer(uvicorn.Server):
    """Looks every second for connections on which nothing happens: one look at all of them, where uvicorn sets and cancels
    a timer with each request."""

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            now = time.monotonic()
            for connection in list(self.server_state.connections):
                connection.look(now)  # type: ignore[union-attr]
        return await super().on_tick(counter)


class DrainingServer(LookingServer):
    """Takes the first SIGTERM or SIGINT as the beginning of a drain, the second as impatience."""

    def __init__(self, config: uvicorn.Config, application: Application, delay_s: float) -> None:
        super().__init__(config)
        self._application = application
        self._delay_s = delay_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signalled = False

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Not super(): it would raise the signal again after the drain, and the process would end by signal,
        # not by 0.
        if self._signalled or self._loop is None:
            self.should_exit = True
            return
        self._signalled = True
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        """Not ready at once; requests are still taken for a moment, until balancers have noticed."""
        logger.info("draining", extra={"delay_s": self._delay_s})
        state = self._application.state
        if state is not None:
            state.draining = True
        assert self._loop is not None
        self._loop.call_later(self._delay_s, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


def uvicorn_config(application: Application, settings: ServerSettings, **where: Any) -> uvicorn.Config:
    return uvicorn.Config(
        application,
        http=Connection,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=int(settings.drain_timeout_s),
        **where,
    )


def serve(settings: ServerSettings, load_backend: BackendLoader, *, host: str, port: int) -> None:
    """Serve until a signal; returns after the drain."""
    application = create_app(settings, load_backend, port=port)
    config = uvicorn_config(application, settings, host=host, port=port)
    look_seldom()
    DrainingServer(config, application, settings.drain_delay_s).run()
