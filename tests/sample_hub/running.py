"""Runs the sample Hub: in a thread of this process, or as a process of its own that a test can kill."""

import contextlib
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import uvicorn

from tests.sample_hub.server import make_app
from tests.sample_hub.store import SampleHubStore

_REPOSITORY = Path(__file__).resolve().parents[2]
_START_TIMEOUT_S = 30.0


class _Server(uvicorn.Server):
    """uvicorn that says when it accepts connections."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.on_ready()


def _listening(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def _server(root: Path | str, on_ready: Callable[[], None], **options: Any) -> _Server:
    app = make_app(SampleHubStore(root), **options)
    config = uvicorn.Config(
        app, lifespan="off", ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    return _Server(config, on_ready)


def serve(root: Path | str, host: str, port: int, on_ready: Callable[[str], None], **options: Any) -> None:
    """Serves until SIGINT or SIGTERM; port 0 is a free one. `on_ready` gets the base URL. Raises OSError."""
    with _listening(host, port) as listener:
        url = f"http://{host}:{listener.getsockname()[1]}"
        _server(root, lambda: on_ready(url), **options).run(sockets=[listener])


@contextlib.contextmanager
def running_hub(root: Path | str, **options: Any) -> Iterator[str]:
    """Serves `root` from a thread on a free port; yields the base URL. `options` go to make_app."""
    ready = threading.Event()
    with _listening("127.0.0.1", 0) as listener:
        server = _server(root, ready.set, **options)
        thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listener]}, name="sample-hub", daemon=True
        )
        thread.start()
        try:
            if not ready.wait(_START_TIMEOUT_S):
                raise RuntimeError("The sample Hub did not start in its thread.")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(_START_TIMEOUT_S)


@contextlib.contextmanager
def hub_process(root: Path | str, port: int = 0) -> "Iterator[tuple[str, subprocess.Popen[str]]]":
    """Serves `root` from a child process; yields the base URL and the process. Killed on leaving."""
    command = [sys.executable, "-m", "tests.sample_hub", "serve"]
    # Absolute, because the child starts in the repository, where `-m tests.sample_hub` is found.
    command += ["--root", str(Path(root).resolve()), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_REPOSITORY) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline().strip()
            if not line.startswith("ready "):
                raise RuntimeError(f"The sample Hub did not start: {line!r}")
            yield line.removeprefix("ready "), child
        finally:
            child.kill()
