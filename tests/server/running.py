"""Real servers on free ports, in threads of the test process."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import httpx
import uvicorn
from starlette.types import ASGIApp

from inference.engine.dummy import load_dummy
from inference.server.app import Application, create_app
from inference.server.connections import Connection
from inference.server.loading import BackendLoader
from inference.server.running import LookingServer
from inference.server.settings import Limits, ServerSettings
from inference.server.workers.host import Host
from tests.server.control_plane import MODEL_ID, SERVICE_TOKEN, TOKEN


@contextmanager
def running(app: ASGIApp, *, lifespan: Literal["on", "off"] = "off") -> Iterator[str]:
    """Serve the application in a thread, ours on its own connections; yields its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app,
        http=Connection if isinstance(app, Application) else "httptools",
        log_config=None,
        access_log=False,
        lifespan=lifespan,
        timeout_graceful_shutdown=5,
    )
    server = (LookingServer if isinstance(app, Application) else uvicorn.Server)(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    eventually(lambda: server.started, "the server did not start")
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(15)
        listener.close()
        assert not thread.is_alive()


@contextmanager
def hosting(settings: ServerSettings, load_backend: BackendLoader) -> Iterator[str]:
    """A host in a thread, and its web workers; yields its base URL once it answers."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    host = Host(replace(settings, drain_delay_s=0.0, drain_timeout_s=5.0), load_backend, listener)
    thread = threading.Thread(target=lambda: asyncio.run(host.run()), daemon=True)
    thread.start()
    try:
        eventually(lambda: hasattr(host, "crew") and host.crew.whole, "not every worker came up", seconds=60)
        yield url
    finally:
        host.stop()
        thread.join(30)
        assert not thread.is_alive()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Caller:
    """An engineer with a token."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=15, trust_env=False)

    def predict(
        self, inputs: Any = "good", *, model: str = MODEL_ID, token: str | None = TOKEN, **fields: Any
    ) -> httpx.Response:
        return self.http.post(
            f"/v1/predict/{model}", json={"inputs": inputs, **fields}, headers=bearer(token)
        )

    def send(self, content: Any, **headers: str) -> httpx.Response:
        """A body as it is, not made by a JSON library."""
        given = {"Content-Type": "application/json", **bearer(TOKEN), **headers}
        return self.http.post(f"/v1/predict/{MODEL_ID}", content=content, headers=given)

    def get(self, path: str, token: str | None = None) -> httpx.Response:
        return self.http.get(path, headers=bearer(token))

    def wait_ready(self) -> None:
        eventually(lambda: self.get("/readyz").status_code == 200, "the server did not get ready")

    def wait_revision(self, sha: str, model: str = MODEL_ID) -> None:
        def answers() -> bool:
            answer = self.predict(model=model)
            return answer.status_code == 200 and bool(answer.json()["commit_sha"] == sha)

        eventually(answers, f"{sha[:4]} never answered", seconds=30)


@contextmanager
def inference_server(
    control_url: str,
    cache: Path,
    *,
    load_backend: BackendLoader = load_dummy,
    limits: dict[str, Any] | None = None,
    **changes: Any,
) -> Iterator[Caller]:
    """A whole inference server against a control plane; impatient, so that tests are quick. With `web_workers`
    the host runs here, in a thread, and the workers in processes of their own."""
    values: dict[str, Any] = {"manifest_poll_s": 0.05, "report_s": 0.2, "check_s": 60.0, **changes}
    settings = ServerSettings(
        control_url=control_url,
        server_token=SERVICE_TOKEN,
        cache=cache,
        limits=Limits(**{"requests_per_s": 0.0, **(limits or {})}),
        **values,
    )
    server = (
        hosting(settings, load_backend)
        if settings.web_workers > 1
        else running(create_app(settings, load_backend), lifespan="on")
    )
    with server as url:
        caller = Caller(url)
        try:
            yield caller
        finally:
            caller.http.close()


def bearer(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def eventually(condition: Callable[[], bool], sentence: str, *, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, sentence
        time.sleep(0.01)
