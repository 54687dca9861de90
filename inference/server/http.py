"""The server's own piece of HTTP: a request, an answer, and which handler a path means.

No framework's: one's matching, layers and objects cost more than all else that a request needs (ADR 18). Our own connections
hand requests over as they are (`connections`); from any other server they come by ASGI (`asgi`).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import orjson

if TYPE_CHECKING:
    from inference.server.state import ServerState

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON = b"application/json"


class Source(Protocol):
    """Where a request comes from."""

    @property
    def address(self) -> str:
        """Of the caller."""

    def whole(self) -> bytes | None:
        """The body, when all of it has come and none was read; None: `receive` it."""

    async def receive(self) -> Message:
        """As ASGI has it: a piece of the body, and once the caller has left `http.disconnect`."""


class Request:
    """One request, and what is known of it so far. `headers` are in lower case, the first of each name. `log` goes into its
    one log line; `started` is on the clock of `time.monotonic()`."""

    __slots__ = (
        "headers", "id", "log", "method", "path", "path_params", "route", "source", "started", "state",
    )  # fmt: skip

    def __init__(
        self, method: str, path: str, headers: dict[bytes, bytes], source: Source, state: ServerState
    ) -> None:
        self.method, self.path, self.headers, self.source, self.state = method, path, headers, source, state
        self.started = time.monotonic()
        self.id = ""
        self.path_params: Mapping[str, str] = {}
        self.route: str | None = None
        self.log: dict[str, Any] = {}

    def header(self, name: bytes, default: str = "") -> str:
        """`name` in lower case."""
        value = self.headers.get(name)
        return default if value is None else value.decode("latin-1")


class Response:
    """A whole answer."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        body: bytes = b"",
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        kind: bytes = b"text/plain; charset=utf-8",
    ) -> None:
        self.body, self.status = body, status
        self.headers = [(b"content-type", kind), (b"content-length", b"%d" % len(body))]
        if headers:
            self.headers += [_encoded(name, value) for name, value in headers.items()]

    def with_header(self, name: bytes, value: bytes) -> Response:
        """Another answer, with a header more."""
        other = Response.__new__(Response)
        other.body, other.status, other.headers = self.body, self.status, [*self.headers, (name, value)]
        return other


@lru_cache(1024)
def _encoded(name: str, value: str) -> tuple[bytes, bytes]:
    return name.lower().encode("latin-1"), value.encode("latin-1")


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Compact UTF-8 JSON. (NaN would become null; the engine lets none out.)"""
    return Response(orjson.dumps(value), status=status, headers=headers, kind=JSON)


Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Route:
    """`path` as it is written down: `{name}` stands for one segment, never an empty one. Whoever may GET may HEAD.
    `computes`: its answer needs a forward pass, so that there is none while no model has room."""

    path: str
    handler: Handler
    method: str = "GET"
    computes: bool = False


class _Node:
    __slots__ = ("any", "at", "named", "routes")

    def __init__(self) -> None:
        self.named: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.routes: dict[str, Route] = {}
        # Names of the segments on the way here.
        self.at: list[tuple[int, str]] = []


class Routes:
    """Every route of the server, by the segments of its path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.all = tuple(routes)
        self._root = _Node()
        for route in self.all:
            self._add(route)
        # A server is asked for few paths, again and again; strangers may ask for any number of others.
        self.find = lru_cache(1024)(self._find)

    def _find(self, path: str) -> tuple[dict[str, Route], Mapping[str, str]]:
        """What may be asked of that path, by method, and the path's parameters; nothing for an unknown one."""
        node, segments = self._root, path.split("/")
        for segment in segments:
            child = node.named.get(segment)
            if child is None:
                child = node.any
                if child is None or not segment:
                    return {}, {}
            node = child
        return node.routes, {name: segments[i] for i, name in node.at}

    def _add(self, route: Route) -> None:
        node, at = self._root, []
        for i, segment in enumerate(route.path.split("/")):
            if segment.startswith("{"):
                at.append((i, segment.strip("{}")))
                node.any = node.any or _Node()
                node = node.any
            else:
                node = node.named.setdefault(segment, _Node())
        node.at = at
        methods = ("GET", "HEAD") if route.method == "GET" else (route.method,)
        for method in methods:
            if method in node.routes:
                raise ValueError(f"{route.method} {route.path} is there twice.")
            node.routes[method] = route
