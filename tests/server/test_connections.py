"""Our own connections: one request after the other, whatever a client sends, and in which pieces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from inference.server.connections import Connection
from inference.server.http import Request, Response

GET = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%b\r\n"


class Transport:
    """The socket's side: what was written, and whether it is read, and open."""

    def __init__(self, peer: str = "192.0.2.7") -> None:
        self.peer, self.written, self.closed, self.reading = peer, b"", False, True

    def get_extra_info(self, name: str) -> Any:
        return (self.peer, 4000)

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written += data

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class App:
    """Answers with the path, after the gate is open; refuses what asks for /busy."""

    def __init__(self) -> None:
        self.state = object()
        self.gate = asyncio.Event()
        self.gate.set()
        self.requests: list[Request] = []
        self.handler: Callable[[Request], Awaitable[Response]] | None = None

    def refusal(self, request: Request) -> Response | None:
        return Response(b"busy", status=429) if request.path == "/busy" else None

    async def respond(self, request: Request) -> Response:
        self.requests.append(request)
        await self.gate.wait()
        return await self.handler(request) if self.handler else Response(request.path.encode())


class Line:
    """One connection and both of its ends."""

    def __init__(self, peer: str = "192.0.2.7", proxies: str = "10.0.0.1") -> None:
        self.app, self.transport = App(), Transport(peer)
        self.server = SimpleNamespace(connections=set(), tasks=set(), default_headers=[], total_requests=0)
        config = SimpleNamespace(app=self.app, forwarded_allow_ips=proxies, timeout_keep_alive=5)
        self.connection = Connection(config, self.server, {}, asyncio.get_running_loop())  # type: ignore[arg-type]
        self.connection.connection_made(self.transport)  # type: ignore[arg-type]

    async def send(self, *pieces: bytes) -> bytes:
        """What has been written once nothing moves any more."""
        for piece in pieces:
            self.connection.data_received(piece)
        for _ in range(20):
            await asyncio.sleep(0)
        return self.transport.written

    def answers(self) -> list[tuple[int, bytes]]:
        parts = self.transport.written.split(b"HTTP/1.1 ")[1:]
        return [(int(part[:3]), part.split(b"\r\n\r\n", 1)[1]) for part in parts]


async def echo(request: Request) -> Response:
    """Reads all of the body, piece by piece."""
    body, more = b"", True
    while more:
        message = await request.source.receive()
        body, more = body + message["body"], message["more_body"]
    return Response(body)


def reads(line: Line) -> bool:
    return line.transport.reading


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scene())  # type: ignore[arg-type]


def test_pipelined_requests_are_answered_one_after_the_other() -> None:
    async def scene() -> None:
        line = Line()
        line.app.gate.clear()
        await line.send(GET % b"a" + GET % b"b", GET % b"c")
        assert [r.path for r in line.app.requests] == ["/a"], "the second waits for the first one's answer"
        assert not reads(line), "and more are not even read"
        line.app.gate.set()
        await line.send()
        assert line.answers() == [(200, b"/a"), (200, b"/b"), (200, b"/c")]
        assert reads(line) and not line.server.tasks

    play(scene)


def test_thousands_that_are_refused_at_once_are_no_recursion() -> None:
    async def scene() -> None:
        line = Line()
        await line.send(b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n" * 5000)
        assert line.answers() == [(429, b"busy")] * 5000
        assert not line.app.requests

    play(scene)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_request_in_pieces_is_one_request(size: int) -> None:
    async def scene() -> None:
        line = Line()
        line.app.handler = echo
        raw = POST % (26, b"") + b"abcdefghijklmnopqrstuvwxyz"
        for at in range(0, len(raw), size):
            await line.send(raw[at : at + size])
        assert line.answers() == [(200, b"abcdefghijklmnopqrstuvwxyz")]

    play(scene)


def test_a_body_that_came_with_its_head_is_had_without_waiting_once() -> None:
    async def scene() -> None:
        line = Line()
        seen: list[bytes | None] = []

        async def read(request: Request) -> Response:
            seen.extend([request.source.whole(), request.source.whole()])
            return Response()

        line.app.handler = read
        await line.send(POST % (3, b"") + b"abc", POST % (3, b"") + b"ab")
        assert seen == [b"abc", None, None, None], "the second one's has not all come"

    play(scene)


def test_a_large_body_is_held_back_until_somebody_reads_it() -> None:
    async def scene() -> None:
        line = Line()
        line.app.gate.clear()
        line.app.handler = echo
        await line.send(POST % (200_000, b"") + b"x" * 100_000)
        assert not reads(line)
        line.app.gate.set()
        await line.send()
        assert reads(line)
        await line.send(b"x" * 100_000)
        assert line.answers() == [(200, b"x" * 200_000)]

    play(scene)


def test_who_waits_to_be_told_to_go_on_is_told() -> None:
    async def scene() -> None:
        line = Line()

        async def read(request: Request) -> Response:
            return Response((await request.source.receive())["body"])

        line.app.handler = read
        assert await line.send(POST % (2, b"Expect: 100-continue\r\n")) == b"HTTP/1.1 100 Continue\r\n\r\n"
        await line.send(b"hi")
        assert line.answers()[1] == (200, b"hi")

    play(scene)


@pytest.mark.parametrize(
    ("sent", "closed"),
    [
        (b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", False),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", True),
        (b"GET /a HTTP/1.0\r\nHost: x\r\n\r\n", True),
        (b"GET /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", True),
    ],
    ids=["kept", "closed by the client", "1.0", "1.0 that would be kept", "another protocol"],
)
def test_the_connection_after_an_answer(sent: bytes, closed: bool) -> None:
    async def scene() -> None:
        line = Line()
        told = await line.send(sent)
        assert line.answers() == [(200, b"/a")]
        assert (line.transport.closed, b"connection: close" in told) == (closed, closed)

    play(scene)


def test_head_is_answered_with_the_length_alone() -> None:
    async def scene() -> None:
        line = Line()
        told = await line.send(b"HEAD /four HTTP/1.1\r\nHost: x\r\n\r\n")
        assert told.endswith(b"content-length: 5\r\n\r\n")

    play(scene)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01 tls, say\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nName : x\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused_and_the_connection_ends(sent: bytes, status: int) -> None:
    async def scene() -> None:
        line = Line()
        await line.send(sent)
        assert [code for code, _ in line.answers()] == [status]
        assert line.transport.closed and not line.app.requests

    play(scene)


def test_a_head_without_end_is_refused_before_it_fills_the_memory() -> None:
    async def scene() -> None:
        line = Line()
        await line.send(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", *[b"y" * 16_000] * 5)
        assert line.answers()[0][0] == 431 and line.transport.closed

    play(scene)


def test_rubbish_after_a_request_costs_only_what_comes_after_it() -> None:
    async def scene() -> None:
        line = Line()
        line.app.gate.clear()
        await line.send(GET % b"a" + b"\0\0 rubbish\r\n\r\n")
        line.app.gate.set()
        await line.send()
        assert line.answers() == [(200, b"/a")] and line.transport.closed

    play(scene)


def test_who_does_not_read_answers_gets_no_more_work_done() -> None:
    async def scene() -> None:
        line = Line()
        line.connection.pause_writing()
        await line.send(GET % b"a")
        assert not line.app.requests and not reads(line)
        line.connection.resume_writing()
        await line.send()
        assert line.answers() == [(200, b"/a")] and reads(line)

    play(scene)


def test_whoever_waits_for_a_client_that_leaves_is_told() -> None:
    async def scene() -> None:
        line = Line()
        told: list[str] = []

        async def read(request: Request) -> Response:
            request.source.whole()
            told.append((await request.source.receive())["type"])
            return Response()

        line.app.handler = read
        await line.send(GET % b"a")
        line.connection.connection_lost(None)
        await line.send()
        assert told == ["http.disconnect"]
        assert line.transport.written == b"" and not line.server.connections and not line.server.tasks

    play(scene)


@pytest.mark.parametrize(
    ("sent", "after_s", "closed"),
    [
        (b"", 4.0, False),
        (b"", 6.0, True),
        (GET % b"a", 4.0, False),
        (GET % b"a", 6.0, True),
        (b"GET / HT", 6.0, False),
        (b"GET / HT", 11.0, True),
    ],
    ids=["new", "nothing ever came", "just answered", "idle", "a slow head", "one that never ends"],
)
def test_a_look_closes_where_nothing_happens(sent: bytes, after_s: float, closed: bool) -> None:
    async def scene() -> None:
        line = Line()
        await line.send(sent)
        line.connection.look(time.monotonic() + after_s)
        assert line.transport.closed is closed

    play(scene)


def test_a_client_that_still_sends_what_was_refused_is_let_finish() -> None:
    async def scene() -> None:
        line = Line()
        await line.send(b"POST /busy HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc")
        assert line.answers() == [(429, b"busy")]
        line.connection._since -= 60
        await line.send(b"de")
        line.connection.look(time.monotonic())
        assert not line.transport.closed and reads(line)
        await line.send(b"f" + GET % b"a")
        assert line.answers() == [(429, b"busy"), (200, b"/a")]

    play(scene)


def test_no_look_closes_on_a_request_that_is_being_answered() -> None:
    async def scene() -> None:
        line = Line()
        line.app.gate.clear()
        await line.send(GET % b"a")
        line.connection.look(time.monotonic() + 3600)
        assert not line.transport.closed

    play(scene)


def test_a_server_that_stops_finishes_what_it_has_begun() -> None:
    async def scene() -> None:
        idle, busy = Line(), Line()
        busy.app.gate.clear()
        await busy.send(GET % b"a")
        for line in (idle, busy):
            line.connection.shutdown()
        assert (idle.transport.closed, busy.transport.closed) == (True, False)
        busy.app.gate.set()
        told = await busy.send()
        assert busy.answers() == [(200, b"/a")] and b"connection: close" in told and busy.transport.closed

    play(scene)


def test_a_server_that_stops_still_reads_what_it_has_begun_and_no_more() -> None:
    async def scene() -> None:
        line = Line()
        line.app.handler = echo
        await line.send(POST % (4, b""))
        line.connection.shutdown()
        assert reads(line)
        await line.send(b"ab", b"cd" + GET % b"late")
        assert line.answers() == [(200, b"abcd")] and line.transport.closed
        assert len(line.app.requests) == 1

    play(scene)


def test_an_answer_that_was_cancelled_ends_the_connection() -> None:
    async def scene() -> None:
        line = Line()
        line.app.gate.clear()
        await line.send(GET % b"a")
        for task in line.server.tasks:
            task.cancel()
        await line.send()
        assert line.transport.closed and line.transport.written == b""

    play(scene)


@pytest.mark.parametrize(
    ("peer", "headers", "wanted"),
    [
        ("192.0.2.7", b"", "192.0.2.7"),
        ("192.0.2.7", b"X-Forwarded-For: 203.0.113.9\r\n", "192.0.2.7"),
        ("10.0.0.1", b"X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"),
        ("10.0.0.1", b"X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"),
        ("10.0.0.1", b"X-Forwarded-For: 203.0.113.9, 10.0.0.1\r\n", "203.0.113.9"),
        ("10.0.0.1", b"", "10.0.0.1"),
    ],
)
def test_who_is_calling_is_what_a_trusted_proxy_says(peer: str, headers: bytes, wanted: str) -> None:
    async def scene() -> None:
        line = Line(peer)
        await line.send(b"GET / HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
        assert line.app.requests[0].source.address == wanted

    play(scene)


@pytest.mark.parametrize(
    ("address", "path"),
    [
        (b"/a/b", "/a/b"),
        (b"/a%20b?c=%20d", "/a b"),
        (b"/a?b#c", "/a"),
        (b"http://elsewhere/a", "/a"),
        (b"//a", "//a"),
        (b"/%E1%BA%BF", "/\u1ebf"),
    ],
)
def test_the_path_is_what_stands_between_host_and_question(address: bytes, path: str) -> None:
    async def scene() -> None:
        line = Line()
        await line.send(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % address)
        assert line.app.requests[0].path == path

    play(scene)
