"""`python -m inference.server --host H --port P`; everything else comes from the environment (see
settings.py)."""

from __future__ import annotations

import argparse
import os
import sys

from inference.engine.spawn import prepare
from inference.server.settings import SettingsError, read_settings


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m inference.server")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8100)
    options = parser.parse_args()
    try:
        settings = read_settings()
    except SettingsError as exc:
        print(exc, file=sys.stderr)
        return 2
    # Loading is local anyway; this makes the Hub's client refuse even by mistake.
    os.environ["HF_HUB_OFFLINE"] = "1"
    # The longest part of a start is another process's import of torch: it begins before our own imports.
    prepare(settings.cpu_layout)
    from inference.server.loading import engine_backend
    from inference.server.logs import configure_logging
    from inference.server.running import serve
    from inference.server.workers.host import serve_with_workers

    configure_logging()
    start = serve_with_workers if settings.web_workers > 1 else serve
    start(settings, engine_backend, host=options.host, port=options.port)
    return 0


if __name__ == "__main__":
    sys.exit(main())
