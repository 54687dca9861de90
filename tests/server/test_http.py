"""The server's own piece of HTTP: which route a path means, what an answer looks like on the wire, who waits for what."""

from __future__ import annotations

import asyncio
import http.client
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from inference.server.app import ROUTES
from inference.server.asgi import request_from
from inference.server.http import Request, Response, Route, Routes, json_response
from inference.server.patience import LOOK_S, HungUp, Patience, TooLate, Watch
from tests.server.conftest import World
from tests.server.control_plane import MODEL_ID, TOKEN
from tests.server.running import Caller, eventually
from tests.server.test_predict import code_of, in_background, one_running


async def handler(request: Request) -> Response:
    return Response()


def found(path: str) -> tuple[str | None, Mapping[str, str]]:
    """The template of the route that answers a GET there, and the parameters."""
    routes, values = Routes(
        Route(template, handler)
        for template in ("/", "/healthz", "/v2", "/v2/models/{org}/{name}", "/v2/models/{org}/{name}/ready")
    ).find(path)
    return (routes["GET"].path if routes else None), values


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/", ("/", {})),
        ("/healthz", ("/healthz", {})),
        ("/v2/models/acme/x", ("/v2/models/{org}/{name}", {"org": "acme", "name": "x"})),
        ("/v2/models/acme/x@staging/ready", ("/v2/models/{org}/{name}/ready", {"org": "acme", "name": "x@staging"})),
        ("/v2/models/acme/ready", ("/v2/models/{org}/{name}", {"org": "acme", "name": "ready"})),
        ("/healthz/", (None, {})),
        ("//healthz", (None, {})),
        ("/v2/models", (None, {})),
        ("/v2/models/acme", (None, {})),
        ("/v2/models//x", (None, {})),
        ("/v2/models/acme/", (None, {})),
        ("/v2/models/acme/x/never", (None, {})),
        ("", (None, {})),
        ("healthz", (None, {})),
    ],
)  # fmt: skip
def test_a_path_means_one_route_or_none(path: str, wanted: Any) -> None:
    template, values = found(path)
    assert template == wanted[0]
    assert template is None or values == wanted[1]


def test_one_route_twice_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="twice"):
        Routes([Route("/x/{a}", handler), Route("/x/{b}", handler)])


def test_of_a_header_given_twice_the_first_counts() -> None:
    scope = {"method": "GET", "path": "/", "headers": [(b"host", b"ours"), (b"host", b"theirs")]}
    request = request_from(scope, None, None)  # type: ignore[arg-type]
    assert request.header(b"host") == "ours"
    assert request.header(b"accept", "none") == "none"


def test_what_is_no_number_never_leaves_as_one() -> None:
    assert b"NaN" not in json_response({"score": float("nan")}).body


# On the wire


@contextmanager
def connected(caller: Caller) -> Iterator[http.client.HTTPConnection]:
    url = caller.http.base_url
    connection = http.client.HTTPConnection(url.host, url.port, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def test_a_wrong_method_says_which_are_right(caller: Caller) -> None:
    answer = caller.http.delete("/v1/models")
    assert code_of(answer) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD"
    assert code_of(caller.http.get("/v1/nothing")) == (404, "not_found")


def test_head_answers_the_headers_alone(caller: Caller) -> None:
    whole, head = caller.http.get("/limits"), caller.http.head("/limits")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole.content))


def test_one_connection_answers_in_order_and_stays(caller: Caller) -> None:
    with connected(caller) as connection:
        for path in ("/healthz", "/nothing", "/limits", "/healthz"):
            connection.request("GET", path)
            answer = connection.getresponse()
            assert answer.status == (404 if path == "/nothing" else 200)
            answer.read()
            assert not answer.will_close


def test_pipelined_requests_are_answered_in_order(caller: Caller) -> None:
    with connected(caller) as connection:
        connection.connect()
        ask = "GET /{} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: {}\r\n{}\r\n"
        lines = [("healthz", "a", ""), ("nothing", "b", ""), ("limits", "c", "Connection: close\r\n")]
        connection.sock.sendall("".join(ask.format(*line) for line in lines).encode())
        told = b""
        while more := connection.sock.recv(65536):
            told += more
        heads = [part.split(b"\r\n\r\n")[0] for part in told.split(b"HTTP/1.1 ")[1:]]
        assert [head[:3] for head in heads] == [b"200", b"404", b"200"]
        assert [head.split(b"x-request-id: ")[1][:1] for head in heads] == [b"a", b"b", b"c"]
        assert b"connection: close" in heads[2] and b"connection: close" not in heads[0]


def test_who_says_close_is_closed(caller: Caller) -> None:
    with connected(caller) as connection:
        connection.request("GET", "/healthz", headers={"Connection": "close"})
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Connection"), answer.will_close) == (200, "close", True)


# A flood


@pytest.mark.parametrize("web_workers", [0, 2])
def test_while_nothing_has_room_a_flood_is_refused_before_anything_is_known_of_it(
    world: World, web_workers: int, caplog: pytest.LogCaptureFixture
) -> None:
    with one_running(world, web_workers) as (backend, caller, running):
        waiting = in_background(1, lambda: caller.predict(["a", "b", "c", "d"]))
        eventually(lambda: caller.predict(token=None).status_code == 429, "the queue never filled")
        # Whoever asks, and in the words of each protocol.
        refused = caller.predict(token=None)
        assert code_of(refused) == (429, "busy") and refused.headers["Retry-After"] == "1"
        assert code_of(caller.predict(model="acme/none")) == (429, "busy")
        assert caller.http.post(f"/hf/{MODEL_ID}", json={"inputs": "x"}).json()["error_type"] == "busy"
        assert (
            caller.http.post(f"/tei/{MODEL_ID}/predict", json={"inputs": "x"}).json()["error_type"]
            == "overloaded"
        )
        # Ten megabytes are not waited for.
        assert caller.send(b"x" * 10_000_000).status_code == 429
        # What needs no forward pass is answered as ever.
        tokens = caller.http.post(f"/tei/{MODEL_ID}/tokenize", json={"inputs": "x"})
        assert (tokens.status_code, tokens.json()["code"]) == (401, "no_token")
        assert caller.get("/v1/models", TOKEN).status_code == 200
        assert caller.http.post("/nothing").status_code == 404
        told = caller.get("/metrics").text
        assert 'assay_requests_total{protocol="tei",status="429"} 1.0' in told
        backend.armed = False
        backend.gate.set()
        for thread in running + waiting:
            thread.join(10)
        assert caller.predict(token=None).status_code == 401
        assert caller.predict().status_code == 200
    if not web_workers:
        lines = [vars(r) for r in caplog.records if vars(r).get("code") == "busy"]
        assert lines and all(line["route"] and line["request_id"] for line in lines)


# Patience


def waiting(
    deadline_s: float, receive: Callable[[], Awaitable[Any]] | None, answer_after_s: float | None
) -> tuple[Exception | None, float]:
    """What ended the wait for an answer, and after how long."""

    async def run() -> tuple[Exception | None, float]:
        patience, loop = Patience(), asyncio.get_running_loop()
        began, answer = time.monotonic(), loop.create_future()
        if answer_after_s is not None:
            loop.call_later(answer_after_s, answer.set_result, None)
        watch = Watch(began + deadline_s, answer.cancel, receive)
        patience.add(watch)
        try:
            await answer
        except asyncio.CancelledError:
            pass
        finally:
            patience.discard(watch)
            watch.close()
        return watch.ended_by, time.monotonic() - began

    return asyncio.run(run())


async def silence() -> dict[str, str]:
    await asyncio.sleep(60)
    return {"type": "http.disconnect"}


async def leaves() -> dict[str, str]:
    await asyncio.sleep(0.05)
    return {"type": "http.disconnect"}


@pytest.mark.parametrize(
    ("deadline_s", "receive", "answer_after_s", "wanted"),
    [
        (5.0, silence, 0.01, None),
        (5.0, silence, 0.3, None),
        (0.2, silence, None, TooLate),
        (0.0, None, None, TooLate),
        (5.0, leaves, None, HungUp),
    ],
)
def test_a_wait_ends_by_the_answer_the_deadline_or_the_caller(
    deadline_s: float, receive: Any, answer_after_s: float | None, wanted: type[Exception] | None
) -> None:
    ended_by, spent = waiting(deadline_s, receive, answer_after_s)
    assert (None if ended_by is None else type(ended_by)) is wanted
    assert spent >= (deadline_s if wanted is TooLate else 0) - LOOK_S


def test_patience_rests_while_nobody_waits() -> None:
    async def run() -> tuple[bool, bool]:
        patience = Patience()
        watch = Watch(time.monotonic() + 60, lambda: None)
        patience.add(watch)
        looking = patience._looking
        patience.discard(watch)
        await asyncio.sleep(3 * LOOK_S)
        return looking, patience._looking

    assert asyncio.run(run()) == (True, False)


def test_every_route_that_computes_is_marked() -> None:
    """The marked ones are refused at once in a flood; one that is not would wait behind it."""
    computing = {route.path for route in ROUTES.all if route.computes}
    assert computing == {
        "/v1/predict/{org}/{name}",
        "/v1/embeddings",
        "/hf/{org}/{name}",
        *(f"/tei/{{org}}/{{name}}/{end}" for end in ("predict", "embed", "rerank", "similarity")),
        "/v2/models/{org}/{name}/infer",
        "/v2/models/{org}/{name}/versions/{version}/infer",
    }
