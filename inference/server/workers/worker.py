"""A web worker: `python -m inference.server.workers.worker LINK GIFTS BOARD`, three inherited descriptors.

Speaks HTTP on the connections that its host hands it, and has the host compute. It knows no control plane but for callers'
tokens, and ends when its host does: the host's end of the link closes with it, however it died.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from inference.engine import Answer
from inference.engine.errors import describe_error
from inference.engine.remote import load_encoder
from inference.server.app import Application
from inference.server.control import ControlPlane
from inference.server.garbage import look_seldom
from inference.server.logs import TextHasher, configure_logging
from inference.server.manifest import ModelKey
from inference.server.running import LookingServer, uvicorn_config
from inference.server.settings import Limits, ServerSettings
from inference.server.state import Places, ServerState, tokeniser_pool
from inference.server.threads import in_thread
from inference.server.tokens import Grant, TokenCache
from inference.server.workers.board import Board, SharedQuotas
from inference.server.workers.figures import export
from inference.server.workers.link import Kind, Link, Question
from inference.server.workers.mirror import Mirror

logger = logging.getLogger(__name__)

_SIGN_OF_LIFE_S = 1.0
# Without a host nothing can be computed: the waiting are answered, and that is all.
_ORPHAN_GRACE_S = 2


class Worker:
    """The process's parts: the link to the host, what the host says, and the server of connections."""

    def __init__(self, gifts: socket.socket, board: Board) -> None:
        self.link = Link(self._on_frame, self._on_lost)
        self._gifts, self._board = gifts, board
        self._loop = asyncio.get_running_loop()
        self.begun: asyncio.Future[None] = self._loop.create_future()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.state: ServerState
        self.mirror: Mirror
        self.server: WorkerServer
        self._up = False

    def begin(self, hello: dict[str, Any]) -> None:
        """The application and its server, once the host has said who we are."""
        settings = read_settings(hello["settings"])
        self.number: int = hello["worker"]
        workers: int = hello["workers"]
        control = ControlPlane(settings)
        self.mirror = Mirror(
            self,
            self._board,
            lambda number: self.link.send(Kind.GONE, number),
            lambda key: self.link.tell(Kind.WANTED, [key]),
        )
        limits = settings.limits
        self.state = ServerState(
            settings=settings,
            control=control,
            slots=self.mirror,
            tokens=TokenCache(control, None),
            quotas=SharedQuotas(self._board, limits.requests_per_s, limits.tokens_per_minute),
            hasher=TextHasher(settings.log_key),
            pool=tokeniser_pool(),
            replica=hello["replica"],
            places=Places(self._board.in_flight[:workers], self.number),
            worker=self.number,
            all_figures=lambda scope: self.link.ask(Kind.ALL_FIGURES, scope.encode(), bytes).future,
        )
        self.state.tokens.heard = self._heard

        @asynccontextmanager
        async def open_state() -> AsyncIterator[ServerState]:
            yield self.state
            await control.close()
            self.state.pool.shutdown(wait=False)

        self.server = WorkerServer(
            uvicorn_config(Application(open_state, settings.hosts), settings), self.ended
        )

    # What `Host` of the remote engine asks for

    @property
    def open(self) -> bool:
        return self.link.open

    def compute(self, body: bytes, read: Callable[[memoryview], Answer]) -> Question[Answer]:
        return self.link.ask(Kind.COMPUTE, body, read)

    def encode(self, body: bytes, timeout_s: float) -> bytes:
        async def ask() -> bytes:
            return await self.link.ask(Kind.ENCODE, body, bytes).future

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result(timeout_s)

    # Connections

    def take_connections(self) -> None:
        """All that were handed over. The kernel keeps them until then."""
        while True:
            try:
                _, fds, _, _ = socket.recv_fds(self._gifts, 16, 16)
            except BlockingIOError:
                return
            except OSError:
                self._loop.remove_reader(self._gifts)
                return
            if not fds:
                self._loop.remove_reader(self._gifts)
                return
            for fd in fds:
                connection = socket.socket(fileno=fd)
                connection.setblocking(False)
                self._do(self._serve(connection))

    async def _serve(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self.server.connection, connection)
        except OSError:
            # The client has left already.
            connection.close()
            self.ended()

    def ended(self) -> None:
        self._board.ended[self.number] += 1

    # What the host says

    def _on_frame(self, kind: Kind, number: int, body: memoryview) -> None:
        match kind:
            case Kind.HELLO:
                # Here and now: what follows may be in the same chunk.
                self.begin(json.loads(bytes(body)))
                self.begun.set_result(None)
            case Kind.MODEL:
                self._do(self._know(json.loads(bytes(body))))
            case Kind.STATE:
                told = json.loads(bytes(body))
                self.state.draining = told["draining"]
                self.mirror.follow(told)
                self._come_up()
            case Kind.GRANT:
                told = json.loads(bytes(body))
                self.state.tokens.learn(told["digest"], Grant.read(told["grant"]))
            case Kind.FIGURES:
                self.link.tell(Kind.TOLD, self._figures(bytes(body).decode()), number)
            case Kind.STOP:
                self.server.should_exit = True
            case _:
                raise ValueError(f"A host does not say {kind}.")

    def _on_lost(self) -> None:
        """The host is gone; `Link` has answered everyone who waited for it."""
        if not self.begun.done():
            self.begun.set_exception(ConnectionError("The host ended before it had said what to do."))
            return
        if not self.server.should_exit:
            logger.error("host_lost", extra={"worker": self.number})
            self.server.config.timeout_graceful_shutdown = _ORPHAN_GRACE_S
        self.state.draining = self.server.should_exit = True

    async def _know(self, told: dict[str, Any]) -> None:
        try:
            encoder = await in_thread(partial(load_encoder, told["facts"], Path(told["snapshot"])))
        except Exception as exc:
            # The host can do it, more slowly.
            logger.error("encoder_failed", extra={"error": describe_error(exc)})
            encoder = None
        self.mirror.know(told, encoder)
        self.link.send(Kind.KNOWN, told["number"])
        self._come_up()

    def _come_up(self) -> None:
        if not self._up and self.mirror.whole and self.server.started:
            self._up = True
            self._loop.add_reader(self._gifts, self.take_connections)
            self.link.send(Kind.UP, 0)

    def _figures(self, scope: str) -> list[Any]:
        metrics = self.state.metrics
        if not scope:
            metrics.in_flight = self.state.places.ours
            return export(metrics.registry)
        return export(metrics.of(ModelKey(*json.loads(scope))).registry)

    def _heard(self, digest: str, grant: Grant) -> None:
        self.link.tell(Kind.GRANT, {"digest": digest, "grant": asdict(grant)})

    async def live(self) -> None:
        """Say every second which slots were used: the least recently used makes room, and silence is death."""
        since = 0.0
        while True:
            now = time.monotonic()
            self.link.tell(Kind.USED, self.mirror.used_since(since))
            since = now
            self._come_up()
            await asyncio.sleep(_SIGN_OF_LIFE_S)

    def _do(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class WorkerServer(LookingServer):
    """Serves connections that it is given. Signals are the host's business: it says when to stop."""

    def __init__(self, config: uvicorn.Config, ended: Callable[[], None]) -> None:
        super().__init__(config)
        self._ended = ended

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        pass

    def connection(self) -> asyncio.Protocol:
        """For one accepted connection."""
        protocol: asyncio.Protocol = self._protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        ended, kind = self._ended, self.config.http_protocol_class

        class Counted(kind):  # type: ignore[misc, valid-type]
            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                ended()

        self._protocol = Counted
        await super().startup(sockets=[])


def read_settings(value: dict[str, Any]) -> ServerSettings:
    """From the host's `asdict`."""
    fields = {**value, "cache": Path(value["cache"]), "limits": Limits(**value["limits"])}
    if fields["server_token_file"] is not None:
        fields["server_token_file"] = Path(fields["server_token_file"])
    fields["protected_channels"] = tuple(fields["protected_channels"])
    return ServerSettings(**fields)


async def run(link_fd: int, gifts_fd: int, board_fd: int) -> None:
    gifts = socket.socket(fileno=gifts_fd)
    gifts.setblocking(False)
    worker = Worker(gifts, Board(board_fd))
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: worker.link, sock=socket.socket(fileno=link_fd))
    try:
        await worker.begun
    except ConnectionError:
        return
    living = asyncio.create_task(worker.live())
    try:
        await worker.server.serve(sockets=[])
    finally:
        living.cancel()
        worker.link.close()


def main() -> int:
    configure_logging()
    # The host is told to stop by the same signal, and says when.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    look_seldom()
    link_fd, gifts_fd, board_fd = map(int, sys.argv[1:])
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        runner.run(run(link_fd, gifts_fd, board_fd))
    return 0


if __name__ == "__main__":
    sys.exit(main())
