"""Everything a server process holds, wired once."""

from __future__ import annotations

import asyncio
import os
import socket
from array import array
from collections.abc import Awaitable, Callable, MutableSequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from inference.server.artifacts import ArtifactCache
from inference.server.control import ControlPlane, Downloads
from inference.server.fleet import Fleet
from inference.server.loading import BackendLoader, ModelLoader
from inference.server.logs import TextHasher
from inference.server.metrics import Metrics
from inference.server.patience import Patience
from inference.server.quota import Quotas
from inference.server.settings import ServerSettings
from inference.server.slots import Slots
from inference.server.tokens import TokenCache

# Tokenising is Rust that lets go of the interpreter lock; two threads keep a long text from holding up
# short ones.
TOKENISER_THREADS = 2


class Places:
    """The requests being answered: one cell for each process of the server, of which one is ours."""

    def __init__(self, cells: MutableSequence[int] | memoryview[int] | None = None, ours: int = 0) -> None:
        self._cells, self._ours = array("q", [0]) if cells is None else cells, ours

    @property
    def ours(self) -> int:
        return self._cells[self._ours]

    @property
    def taken(self) -> int:
        """Of the whole server."""
        return sum(self._cells)

    def change(self, by: int) -> None:
        self._cells[self._ours] += by


class QuotaBook(Protocol):
    """Raises ApiError 429 in `begin`."""

    def begin(self, token_id: str) -> None: ...

    def spend(self, token_id: str, tokens: int) -> None: ...


@dataclass
class ServerState:
    """What answering requests needs. Built inside the event loop (its events belong to that loop).

    `worker` is the number of this web worker; None in a server of one process. `all_figures` gives the whole
    server's figures, of "" or of a model (its key as JSON), for Prometheus; None: those of this process.
    """

    settings: ServerSettings
    control: ControlPlane
    slots: Slots
    tokens: TokenCache
    quotas: QuotaBook
    hasher: TextHasher
    pool: ThreadPoolExecutor
    replica: str
    metrics: Metrics = field(default_factory=Metrics)
    tokenisers: int = TOKENISER_THREADS
    draining: bool = False
    places: Places = field(default_factory=Places)
    patience: Patience = field(default_factory=Patience)
    worker: int | None = None
    all_figures: Callable[[str], Awaitable[bytes]] | None = None


@dataclass
class HostState(ServerState):
    """Besides, what holding the models needs."""

    downloads: Downloads = field(kw_only=True)
    fleet: Fleet = field(kw_only=True)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


def build_state(settings: ServerSettings, load_backend: BackendLoader, *, port: int) -> HostState:
    control, downloads = ControlPlane(settings), Downloads(settings)
    artifacts = ArtifactCache(settings.cache, downloads, most_bytes=settings.cache_mb * 1_000_000)
    loader = ModelLoader(settings, artifacts, load_backend, asyncio.get_running_loop())
    limits = settings.limits
    fleet = Fleet(settings, loader)
    return HostState(
        settings=settings,
        control=control,
        downloads=downloads,
        slots=fleet,
        fleet=fleet,
        tokens=TokenCache(control, settings.cache / "tokens.json"),
        quotas=Quotas(limits.requests_per_s, limits.tokens_per_minute),
        hasher=TextHasher(settings.log_key),
        pool=tokeniser_pool(),
        replica=f"{socket.gethostname()}:{os.getpid()}:{port}",
    )


def tokeniser_pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(TOKENISER_THREADS, thread_name_prefix="tokenise")
