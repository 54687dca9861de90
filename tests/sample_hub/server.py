"""The ASGI application: which address goes where, and the two addresses that the real Hub does not have."""

from collections import deque

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.sample_hub import api, files
from tests.sample_hub.asking import Hub
from tests.sample_hub.errors import HubError, answer
from tests.sample_hub.lies import Lies
from tests.sample_hub.store import SampleHubStore

_REMEMBERED_REQUESTS = 10_000


def make_app(
    store: SampleHubStore,
    *,
    tokens: dict[str, str] | None = None,
    bare_401: bool = False,
    xet: bool = False,
    tree_page: int = 1000,
) -> Starlette:
    """The sample Hub over a store.

    tokens: token -> user name; None accepts every token. bare_401: see errors.unknown_repo. xet: also send
    the Xet headers and fields, with nothing behind them. tree_page: entries in a page of /tree.
    """
    app = Starlette(
        routes=[
            Route("/_lies", _lies, methods=["GET", "POST"]),
            Route("/_requests", _requests, methods=["GET", "DELETE"]),
            Route("/api/agent-harnesses", api.agent_harnesses),
            Route("/api/whoami-v2", api.whoami),
            Route("/api/models", api.list_models),
            Route("/api/resolve-cache/models/{rest:path}", files.resolve_cache),
            Route("/api/models/{rest:path}", api.model, methods=["GET"]),
            Route("/api/models/{rest:path}", _paths_info, methods=["POST"]),
            Route("/cdn/{repo}/{sha256}", files.cdn),
            Route("/{org}/{name}/resolve/{rest:path}", files.resolve),
        ],
        exception_handlers={HubError: answer},
    )
    app.state.hub = Hub(store, tokens, bare_401, xet, tree_page)
    app.state.lies = Lies()
    app.state.requests = deque(maxlen=_REMEMBERED_REQUESTS)
    app.add_middleware(_Remember, requests=app.state.requests)
    return app


class _Remember:
    """Notes each request, so that a test can say what was asked of the Hub - or that nothing was."""

    def __init__(self, app: ASGIApp, requests: "deque[dict[str, str | bool]]") -> None:
        self.app, self.requests = app, requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].startswith("/_"):
            query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
            # Whether a token came, never which: the list is printed by failing tests.
            token = any(name == b"authorization" for name, _ in scope["headers"])
            path = scope["raw_path"].decode("ascii", "replace") + query
            self.requests.append({"method": scope["method"], "path": path, "token": token})
        await self.app(scope, receive, send)


async def _lies(request: Request) -> Response:
    """GET: the present lies. POST: tell other ones (see Lies); {} is the truth."""
    if request.method == "POST":
        try:
            request.app.state.lies = Lies.from_json(await request.json())
        except ValueError as wrong:
            return JSONResponse({"error": str(wrong)}, 422)
    return JSONResponse(request.app.state.lies.to_json())


async def _requests(request: Request) -> Response:
    """GET: [{"method", "path", "token"}] of the requests so far, oldest first. DELETE: forget them."""
    if request.method == "DELETE":
        request.app.state.requests.clear()
    return JSONResponse(list(request.app.state.requests))


async def _paths_info(request: Request) -> Response:
    paths, expand = await api.asked_paths(request)
    return await run_in_threadpool(api.describe_paths, request, paths, expand=expand)
