"""A client's connection: llhttp parses it, the application gets one request after the other, and each answer is one write.

In the place of uvicorn's own protocol (ADR 19); uvicorn's server runs it all the same: listens, drains, ends. What that one
makes for any ASGI application (a scope, three messages, an event, a timer for each request) is half of what an answer costs.
"""

from __future__ import annotations

import asyncio
import time
import urllib.parse
from collections import deque
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import httptools
import uvicorn
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from inference.server.http import Message, Request, Response

if TYPE_CHECKING:
    from uvicorn.server import ServerState

    from inference.server.app import Application

# A head that is larger, or takes longer to come, is none: the first fills the memory, the second holds a connection.
_HEAD_BYTES, _HEAD_S = 64 * 1024, 10.0
# So much of a body is held for an application that does not read it.
_BODY_BYTES = 64 * 1024

_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}
# Of a client that has left; for the log, and where it has not.
_LINES[499] = b"HTTP/1.1 499 Client Closed Request\r\n"
_METHODS = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
_GONE: Message = {"type": "http.disconnect"}


class Exchange:
    """One request's body and its answer. Implements `Source`."""

    __slots__ = (
        "_chunks", "_connection", "_expects", "_held", "_more", "_told", "_waiter", "answered", "gone", "headless",
        "keep_alive", "request",
    )  # fmt: skip

    def __init__(self, connection: Connection, *, keep_alive: bool, expects: bool, headless: bool) -> None:
        self._connection = connection
        self.keep_alive, self._expects, self.headless = keep_alive, expects, headless
        self._chunks: list[bytes] = []
        self._held = 0
        # Whether more of the body is to come; whether the application knows that none is.
        self._more, self._told = True, False
        self._waiter: asyncio.Future[None] | None = None
        self.answered = self.gone = False
        self.request: Request

    @property
    def address(self) -> str:
        return self._connection.address_of(self.request)

    def whole(self) -> bytes | None:
        """The body, when all of it is there and none was read: without waiting."""
        if self._more or self._told:
            return None
        self._told = True
        chunks, self._chunks = self._chunks, []
        self._connection.resume_reading()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def receive(self) -> Message:
        """As ASGI has it."""
        if self._expects and not self.answered:
            self._expects = False
            self._connection.say_continue()
        while not (self.answered or self.gone):
            if self._chunks or not (self._more or self._told):
                body = b"".join(self._chunks)
                self._chunks.clear()
                self._held = 0
                self._told = not self._more
                self._connection.resume_reading()
                return {"type": "http.request", "body": body, "more_body": self._more}
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return _GONE

    def feed(self, chunk: bytes) -> bool:
        """A piece of the body came. Whether that is enough for now."""
        if self.answered:
            return False  # Nobody will read it.
        self._chunks.append(chunk)
        self._held += len(chunk)
        self._wake()
        return self._held > _BODY_BYTES

    def end(self) -> None:
        """All of the body is there."""
        self._more = False
        self._wake()

    def lose(self) -> None:
        """The client has left."""
        self.gone = True
        self._wake()

    def answer(self, response: Response) -> None:
        if not (self.answered or self.gone):
            self.answered = True
            self._connection.write(self, response)
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Connection(asyncio.Protocol):
    """What uvicorn is given as its protocol, and calls as it calls its own."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._app: Application = config.app  # type: ignore[assignment]
        proxies = config.forwarded_allow_ips
        self._proxies = proxies if isinstance(proxies, str) else ",".join(proxies)
        self._keep_alive_s: float = config.timeout_keep_alive
        self._server = server_state
        self._loop = _loop or asyncio.get_event_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._peer = ""
        # Of the head that is being parsed.
        self._url, self._headers = b"", dict[bytes, bytes]()
        self._in_head, self._head_bytes = False, 0
        # The request whose body is being parsed, the one being answered, and those that came before it was.
        self._parsed: Exchange | None = None
        self._current: Exchange | None = None
        self._queue: deque[Exchange] = deque()
        # Whether the socket is read, whether answers leave, and whether a body that nobody reads has piled up.
        self._reading, self._writing, self._full = True, True, False
        self._last = self._broken = self._advancing = False
        # Since when nothing is being answered.
        self._since = time.monotonic()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self._server.connections.add(self)  # type: ignore[arg-type]
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) and peer else ""

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        for exchange in (self._current, self._parsed, *self._queue):
            if exchange is not None:
                exchange.lose()
        self._queue.clear()
        self._current = self._parsed = None

    def data_received(self, data: bytes) -> None:
        if self._broken:
            return
        was_in_head = self._in_head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # To another protocol, which we do not speak: the request itself is answered.
            self._end_after_this()
            self._read_no_more()
        except httptools.HttpParserError:
            self._refuse(400, b"This is not HTTP.")
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_BYTES:
                self._refuse(431, b"The request's head is too large.")

    def eof_received(self) -> None:
        pass

    def pause_writing(self) -> None:
        # Who does not read their answers asks no more meanwhile.
        self._writing = False
        self._read_or_wait()

    def resume_writing(self) -> None:
        self._writing = True
        self._next()

    # httptools

    def on_message_begin(self) -> None:
        self._url, self._headers = b"", {}
        self._in_head, self._head_bytes = True, 0
        if self._current is None:
            self._since = time.monotonic()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Of a header that is there twice the first one counts; the proxies' one adds up.
        name = name.lower()
        if name not in self._headers:
            self._headers[name] = value
        elif name == b"x-forwarded-for":
            self._headers[name] += b", " + value

    def on_headers_complete(self) -> None:
        """Raises what makes the parser fail for an address that is none."""
        self._in_head = False
        if self._last:
            return  # The one before it was the last.
        parser, headers = self._parser, self._headers
        method = parser.get_method()
        exchange = Exchange(
            self,
            keep_alive=parser.should_keep_alive() and parser.get_http_version() != "1.0",
            expects=headers.get(b"expect", b"").lower() == b"100-continue",
            headless=method == b"HEAD",
        )
        assert self._app.state is not None
        exchange.request = Request(
            _METHODS.get(method) or method.decode("ascii"),
            _path_of(self._url),
            headers,
            exchange,
            self._app.state,
        )
        self._parsed = exchange
        if self._current is None and self._writing:
            self._start(exchange)
        else:
            self._queue.append(exchange)
            self._read_or_wait()

    def on_body(self, body: bytes) -> None:
        if self._current is None:
            # Whoever still sends what was answered already is let finish.
            self._since = time.monotonic()
        if self._parsed is not None and self._parsed.feed(body):
            self._full = True
            self._read_or_wait()

    def on_message_complete(self) -> None:
        if self._parsed is not None:
            self._parsed.end()
            self._parsed = None

    # For the exchange

    def address_of(self, request: Request) -> str:
        """The client's, as a proxy that may be believed says, else the one at the other end."""
        told = request.header(b"x-forwarded-for")
        trusted = _trusted(self._proxies)
        if told and self._peer in trusted:
            return trusted.get_trusted_client_address(told)[0] or self._peer
        return self._peer

    def say_continue(self) -> None:
        self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def resume_reading(self) -> None:
        """What had piled up was read, or nobody will."""
        self._full = False
        self._read_or_wait()

    def write(self, exchange: Exchange, response: Response) -> None:
        """The whole answer, and on to the next request."""
        parts = [_LINES[response.status]]
        for name, value in (*self._server.default_headers, *response.headers):
            parts += (name, b": ", value, b"\r\n")
            if name == b"connection":
                exchange.keep_alive = False
                parts = parts[:-4]
        if not exchange.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        if not exchange.headless:
            parts.append(response.body)
        self._transport.write(b"".join(parts))
        self._server.total_requests += 1
        self._current = None
        self._since = time.monotonic()
        if exchange.keep_alive:
            self._next()
        else:
            self._transport.close()

    # For uvicorn's server

    def shutdown(self) -> None:
        """Close, now or after the answer that is being made."""
        if self._current is None:
            self._transport.close()
        else:
            self._end_after_this()

    def look(self, now: float) -> None:
        """Close when nothing was asked for too long, or a head takes too long; called about every second."""
        if self._current is None and now - self._since > (_HEAD_S if self._in_head else self._keep_alive_s):
            self._transport.close()

    # Inside

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        if (refusal := self._app.refusal(exchange.request)) is not None:
            exchange.answer(refusal)
            return
        task = self._loop.create_task(self._run(exchange))
        self._server.tasks.add(task)
        task.add_done_callback(self._server.tasks.discard)

    async def _run(self, exchange: Exchange) -> None:
        try:
            exchange.answer(await self._app.respond(exchange.request))
        except BaseException:
            self._transport.abort()  # The server stops; there is nobody left to make an answer.
            raise

    def _next(self) -> None:
        """What came while another request was answered."""
        if self._advancing:
            return  # A loop, not a recursion: of requests that are refused at once thousands may have come in one piece.
        self._advancing = True
        while self._queue and self._current is None and self._writing and not self._transport.is_closing():
            self._start(self._queue.popleft())
        self._advancing = False
        self.resume_reading()

    def _read_or_wait(self) -> None:
        wanted = self._writing and not (self._full or self._broken or self._queue)
        if wanted != self._reading and not self._transport.is_closing():
            self._reading = wanted
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def _read_no_more(self) -> None:
        """After this nothing can be understood."""
        self._broken = True
        self._read_or_wait()

    def _end_after_this(self) -> None:
        """Begin no other request; close once the one that is being answered is. The rest of its body is still to come."""
        self._last = True
        self._queue.clear()
        if self._current is not None:
            self._current.keep_alive = False

    def _refuse(self, status: int, sentence: bytes) -> None:
        """What came is no request."""
        busy = self._current is not None
        self._end_after_this()
        self._read_no_more()
        if not busy and not self._transport.is_closing():
            self._transport.write(
                b"%bcontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (_LINES[status], len(sentence), sentence)
            )
            self._transport.close()


def _path_of(url: bytes) -> str:
    """The path as the routes know it. Raises what makes the parser fail."""
    if url[:1] != b"/" or b"?" in url or b"%" in url or b"#" in url:
        path = httptools.parse_url(url).path.decode("ascii")
        return urllib.parse.unquote(path) if "%" in path else path
    return url.decode("ascii")


@lru_cache(8)
def _trusted(proxies: str) -> Any:
    """uvicorn's own reading of FORWARDED_ALLOW_IPS."""

    async def nobody(*_: Any) -> None:
        """Only the list is wanted."""

    return ProxyHeadersMiddleware(nobody, proxies).trusted_hosts
