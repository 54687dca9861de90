"""Everything one server process holds, wired once."""

from __future__ import annotations

import asyncio
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from inference.server.artifacts import ArtifactCache
from inference.server.control import ControlPlane, Downloads
from inference.server.fleet import Fleet
from inference.server.loading import BackendLoader, ModelLoader
from inference.server.logs import TextHasher
from inference.server.metrics import Metrics
from inference.server.quota import Quotas
from inference.server.settings import ServerSettings
from inference.server.tokens import TokenCache

# Tokenising is Rust that lets go of the interpreter lock; two threads keep a long text from holding up
# short ones.
_TOKENISER_THREADS = 2


@dataclass
class ServerState:
    """Built inside the event loop (its events belong to that loop)."""

    settings: ServerSettings
    control: ControlPlane
    downloads: Downloads
    fleet: Fleet
    tokens: TokenCache
    quotas: Quotas
    hasher: TextHasher
    pool: ThreadPoolExecutor
    replica: str
    metrics: Metrics = field(default_factory=Metrics)
    tokenisers: int = _TOKENISER_THREADS
    draining: bool = False
    in_flight: int = 0
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


def build_state(settings: ServerSettings, load_backend: BackendLoader, *, port: int) -> ServerState:
    control, downloads = ControlPlane(settings), Downloads(settings)
    artifacts = ArtifactCache(settings.cache, downloads, most_bytes=settings.cache_mb * 1_000_000)
    loader = ModelLoader(settings, artifacts, load_backend)
    limits = settings.limits
    return ServerState(
        settings=settings,
        control=control,
        downloads=downloads,
        fleet=Fleet(settings, loader),
        tokens=TokenCache(control, settings.cache / "tokens.json"),
        quotas=Quotas(limits.requests_per_s, limits.tokens_per_minute),
        hasher=TextHasher(settings.log_key),
        pool=ThreadPoolExecutor(_TOKENISER_THREADS, thread_name_prefix="tokenise"),
        replica=f"{socket.gethostname()}:{os.getpid()}:{port}",
    )
