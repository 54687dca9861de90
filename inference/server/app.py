"""The ASGI application: routes, one log line and one error shape for every request."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from inference.engine.errors import describe_error
from inference.server.background import start_background, stop_background
from inference.server.body import ClientGone
from inference.server.errors import ApiError
from inference.server.hosts import Hosts
from inference.server.loading import BackendLoader
from inference.server.openapi import document
from inference.server.predict import predict
from inference.server.probes import healthz, limits, metrics, readyz
from inference.server.protocols import hub, kserve, openai, tei
from inference.server.protocols.errors import protocol_of, shape
from inference.server.responses import json_response
from inference.server.settings import ServerSettings
from inference.server.state import ServerState, build_state

logger = logging.getLogger("inference.server.requests")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET = {"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"}
_CODES = {404: "not_found", 405: "method_not_allowed"}


OpenState = Callable[[], AbstractAsyncContextManager[ServerState]]


def create_app(settings: ServerSettings, load_backend: BackendLoader, *, port: int = 0) -> RequestLine:
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

    return make_app(open_state, settings.hosts)


def make_app(open_state: OpenState, hosts: Iterable[str]) -> RequestLine:
    """The application around what `open_state` gives for its life. `hosts`: the names that it answers by."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with open_state() as app.state.server:
            yield

    app = Starlette(
        routes=[
            Route("/healthz", healthz, methods=["GET"]),
            Route("/readyz", readyz, methods=["GET"]),
            Route("/limits", limits, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
            Route("/openapi.json", document, methods=["GET"]),
            Route("/v1/predict/{org}/{name}", predict, methods=["POST"]),
            *openai.ROUTES,
            *hub.ROUTES,
            *tei.ROUTES,
            *kserve.ROUTES,
        ],
        lifespan=lifespan,
        exception_handlers={
            ApiError: _api_error,
            HTTPException: _http_error,
            ClientGone: _client_gone,
            Exception: _unexpected,
        },
    )
    # A redirect for a slash would be an answer without our shape, and would send the body to be resent.
    app.router.redirect_slashes = False
    return RequestLine(app, Hosts(hosts))


class RequestLine:
    """Gives each request an id, refuses foreign host names, and writes the one log line."""

    def __init__(self, app: Starlette, hosts: Hosts) -> None:
        self.app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        fields: dict[str, Any] = {}
        scope["assay"] = {"request_id": request_id, "log": fields}
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        started = time.monotonic()
        try:
            if self._hosts.knows(_header(scope, b"host")):
                await self.app(scope, receive, send_with_id)
            else:
                fields["code"] = "unknown_host"
                await _unknown_host(scope)(scope, receive, send_with_id)
        except Exception:
            # Starlette has answered with `_unexpected` and raises once more for the server's log; ours has
            # it all.
            pass
        finally:
            self._write(scope, request_id, status, time.monotonic() - started, fields)

    @staticmethod
    def _write(scope: Scope, request_id: str, status: int, spent_s: float, fields: dict[str, Any]) -> None:
        if scope["path"] in _QUIET and status == 200:
            return
        if "app" not in scope:  # refused before there was anything to measure
            logger.info("request", extra={"request_id": request_id, "status": status, **fields})
            return
        state: ServerState = scope["app"].state.server
        state.metrics.request(protocol_of(scope["path"]), status, spent_s * 1000)
        route = scope.get("route")
        # The route, not the path: people paste texts into addresses too.
        line = {
            "request_id": request_id,
            "method": scope["method"],
            "route": route.path if isinstance(route, Route) else None,
            "status": status,
            "duration_ms": round(spent_s * 1000, 2),
            **fields,
        }
        if state.worker is not None:
            line["worker"] = state.worker
        logger.log(logging.ERROR if status >= 500 and status != 503 else logging.INFO, "request", extra=line)


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


def _request_id(scope: Scope) -> str:
    given = _header(scope, b"x-request-id")
    if _REQUEST_ID.fullmatch(given):
        return given
    # Unique, not secret; the system's randomness would cost a call to the kernel.
    return f"{random.getrandbits(128):032x}"


def _unknown_host(scope: Scope) -> Response:
    exc = ApiError(
        400,
        "unknown_host",
        "This server does not answer by that host name. Its operator lists names in ASSAY_SERVER_HOSTS.",
    )
    return json_response(shape(scope["path"], exc), status=exc.status)


async def _api_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, ApiError)
    request.scope["assay"]["log"]["code"] = exc.code
    if exc.__cause__ is not None:
        request.scope["assay"]["log"]["error"] = describe_error(exc.__cause__)
    return _error(request, exc)


async def _client_gone(request: Request, exc: Exception) -> Response:
    """Nobody reads this; the status is for the log."""
    request.scope["assay"]["log"]["code"] = "client_gone"
    return Response(status_code=499)


async def _unexpected(request: Request, exc: Exception) -> Response:
    request.scope["assay"]["log"] |= {"code": "internal", "error": describe_error(exc)}
    return _error(request, ApiError(500, "internal", "The server failed; its log has this request's id."))


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    code = _CODES.get(exc.status_code, "http_error")
    request.scope["assay"]["log"]["code"] = code
    return _error(request, ApiError(exc.status_code, code, str(exc.detail)), dict(exc.headers or {}))


def _error(request: Request, exc: ApiError, headers: dict[str, str] | None = None) -> Response:
    return json_response(
        shape(request.scope["path"], exc), status=exc.status, headers={**exc.headers, **(headers or {})}
    )
