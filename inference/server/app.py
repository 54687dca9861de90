"""The ASGI application: routes, one log line and one error shape for every request."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from typing import Any

from inference.engine.errors import describe_error
from inference.server.asgi import request_from, send_response
from inference.server.background import start_background, stop_background
from inference.server.body import ClientGone
from inference.server.errors import ApiError
from inference.server.hosts import Hosts
from inference.server.http import (
    Receive,
    Request,
    Response,
    Route,
    Routes,
    Scope,
    Send,
    json_response,
)
from inference.server.loading import BackendLoader
from inference.server.logs import log_request
from inference.server.openapi import document
from inference.server.predict import predict
from inference.server.probes import healthz, limits, metrics, readyz
from inference.server.protocols import hub, kserve, openai, tei
from inference.server.protocols.errors import protocol_of, shape_of
from inference.server.serving import busy
from inference.server.settings import ServerSettings
from inference.server.state import ServerState, build_state

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = {"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"}

ROUTES = Routes(
    [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/limits", limits),
        Route("/metrics", metrics),
        Route("/openapi.json", document),
        Route("/v1/predict/{org}/{name}", predict, "POST", computes=True),
        *openai.ROUTES,
        *hub.ROUTES,
        *tei.ROUTES,
        *kserve.ROUTES,
    ]
)

OpenState = Callable[[], AbstractAsyncContextManager[ServerState]]


def create_app(settings: ServerSettings, load_backend: BackendLoader, *, port: int = 0) -> Application:
    """The application of a server of one process. `load_backend` is the engine's, or a dummy in tests; `port`
    only names the replica."""

    @asynccontextmanager
    async def open_state() -> AsyncIterator[ServerState]:
        state = build_state(settings, load_backend, port=port)
        start_background(state)
        try:
            yield state
        finally:
            await stop_background(state)

    return Application(open_state, settings.hosts)


class Application:
    """Around what `open_state` gives for its life. Gives each request an id, refuses foreign host names, finds the
    handler, answers in one shape when it fails, and writes the one log line. `hosts`: the names that it answers by."""

    def __init__(self, open_state: OpenState, hosts: Iterable[str]) -> None:
        self._open_state, self._hosts = open_state, Hosts(hosts)
        self.state: ServerState | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As an ASGI server calls it."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        assert self.state is not None
        await send_response(send, await self.respond(request_from(scope, receive, self.state)))

    async def respond(self, request: Request) -> Response:
        """The whole answer, whatever happens."""
        request.id = _request_id(request)
        # Also when the server stops amid the answer: the line says that there was a request.
        status = 0
        try:
            response = await self._answer(request)
            status = response.status
            response.headers.append((b"x-request-id", request.id.encode()))
            return response
        finally:
            _write(request, status, (time.monotonic() - request.started) * 1000)

    def refusal(self, request: Request) -> Response | None:
        """429 here and now, without a task and before anything is known of the caller, when no model has room for
        what is asked; None for any other request. What refusing a flood costs is taken from the models."""
        if request.method != "POST" or not request.state.slots.full:
            return None
        routes, _ = ROUTES.find(request.path)
        if "POST" not in routes or not routes["POST"].computes:
            return None
        request.id, request.route, request.log["code"] = _request_id(request), routes["POST"].path, "busy"
        response = _refusal(protocol_of(request.path)).with_header(b"x-request-id", request.id.encode())
        _write(request, response.status, 0.0)
        return response

    async def _answer(self, request: Request) -> Response:
        try:
            if not self._hosts.knows(request.headers.get(b"host", b"")):
                raise _unknown_host()
            routes, request.path_params = ROUTES.find(request.path)
            route = routes.get(request.method)
            if route is None:
                raise _no_route(routes)
            request.route = route.path
            return await route.handler(request)
        except ApiError as exc:
            request.log["code"] = exc.code
            if exc.__cause__ is not None:
                request.log["error"] = describe_error(exc.__cause__)
            return _error(request, exc)
        except ClientGone:
            # Nobody reads this; the status is for the log.
            request.log["code"] = "client_gone"
            return Response(status=499)
        except Exception as exc:
            request.log |= {"code": "internal", "error": describe_error(exc)}
            return _error(
                request, ApiError(500, "internal", "The server failed; its log has this request's id.")
            )

    async def _live(self, receive: Receive, send: Send) -> None:
        """The application's life, between two messages of the server that runs it."""
        await receive()
        try:
            async with self._open_state() as self.state:
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as exc:
            logging.getLogger(__name__).error("lifespan_failed", extra={"error": describe_error(exc)})
            began = self.state is not None
            await send({"type": "lifespan.shutdown.failed" if began else "lifespan.startup.failed"})
            return
        await send({"type": "lifespan.shutdown.complete"})


@lru_cache
def _refusal(protocol: str) -> Response:
    exc = busy()
    return json_response(shape_of(protocol, exc), status=exc.status, headers=exc.headers)


def _write(request: Request, status: int, spent_ms: float) -> None:
    if request.path in _QUIET and status == 200:
        return
    state = request.state
    state.metrics.request(protocol_of(request.path), status, spent_ms)
    line: dict[str, Any] = {
        "request_id": request.id,
        "method": request.method,
        # The route, not the path: people paste texts into addresses too.
        "route": request.route,
        "status": status,
        "duration_ms": round(spent_ms, 2),
        **request.log,
    }
    if state.worker is not None:
        line["worker"] = state.worker
    log_request(logging.ERROR if status >= 500 and status != 503 else logging.INFO, line)


def _request_id(request: Request) -> str:
    given = request.headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(text := given.decode("latin-1")):
        return text
    # Unique, not secret; the system's randomness would cost a call to the kernel.
    return f"{random.getrandbits(128):032x}"


def _unknown_host() -> ApiError:
    return ApiError(
        400,
        "unknown_host",
        "This server does not answer by that host name. Its operator lists names in ASSAY_SERVER_HOSTS.",
    )


def _no_route(others: dict[str, Route]) -> ApiError:
    if not others:
        return ApiError(404, "not_found", "Not Found")
    refused = ApiError(405, "method_not_allowed", "Method Not Allowed")
    refused.headers["Allow"] = ", ".join(sorted(others))
    return refused


def _error(request: Request, exc: ApiError) -> Response:
    return json_response(shape_of(protocol_of(request.path), exc), status=exc.status, headers=exc.headers)
