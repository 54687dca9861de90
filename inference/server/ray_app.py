"""The inference server as a Ray Serve application: `serve run inference.server.ray_app:app` (Ray is an optional dependency).

The same ASGI application in each replica; Ray spreads, restarts and scales them. Everything else comes from the environment, as
for `python -m inference.server`; ASSAY_RAY_REPLICAS says how many to start with (by default 2).
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import serve

# How long a replica may take for its first models before it takes requests all the same (and says itself what is missing).
_READY_WITHIN_S = 120.0


class ReadyFirst:
    """An application whose start is over when its models answer.

    Ray sends requests to a replica as soon as it has started and knows no /readyz: without this, one that still loads
    answers 503 beside another that could have answered.
    """

    def __init__(self, application: Any) -> None:
        self._application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await self._application(scope, receive, send)
            return

        async def send_when_ready(message: Any) -> None:
            if message["type"] == "lifespan.startup.complete":
                await self._wait()
            await send(message)

        await self._application(scope, receive, send_when_ready)

    async def _wait(self) -> None:
        fleet = self._application.state.fleet
        until = time.monotonic() + _READY_WITHIN_S
        while not fleet.ready and time.monotonic() < until:
            await asyncio.sleep(0.05)


def build() -> Any:
    """The ASGI application of one replica, built inside its process."""
    from inference.server.app import create_app
    from inference.server.loading import engine_backend
    from inference.server.logs import configure_logging
    from inference.server.settings import read_settings

    os.environ["HF_HUB_OFFLINE"] = "1"
    configure_logging()
    settings = read_settings()
    # Ray may put several replicas on one machine: each has a folder of its own.
    cache = Path(tempfile.mkdtemp(prefix="replica-", dir=settings.cache))
    return ReadyFirst(create_app(replace(settings, cache=cache), engine_backend))


app: Any = serve.deployment(
    serve.ingress(build)(),
    num_replicas=int(os.environ.get("ASSAY_RAY_REPLICAS", "2")),
    # Our own admission answers 429 with a code; Ray's queue must not hide it.
    max_ongoing_requests=512,
    graceful_shutdown_timeout_s=45,
    health_check_period_s=10,
).bind()
