"""The inference server as a Ray Serve application: `serve run inference.server.ray_app:app` (Ray is an optional dependency).

The same ASGI application in each replica; Ray spreads, restarts and scales them. Everything else comes from the environment, as
for `python -m inference.server`; ASSAY_RAY_REPLICAS says how many to start with (by default 2).
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray import serve


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
    return create_app(replace(settings, cache=cache), engine_backend)


app: Any = serve.deployment(
    serve.ingress(build)(),
    num_replicas=int(os.environ.get("ASSAY_RAY_REPLICAS", "2")),
    # Our own admission answers 429 with a code; Ray's queue must not hide it.
    max_ongoing_requests=512,
    graceful_shutdown_timeout_s=45,
    health_check_period_s=10,
).bind()
