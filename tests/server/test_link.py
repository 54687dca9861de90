"""The frames between host and web worker, and what is made of several processes' figures and log lines."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import socket
from typing import Any

import pytest

from inference.engine.errors import EngineBusy, EngineClosed
from inference.engine.wire import pack_error
from inference.server.logs import Bundles, JsonLines
from inference.server.metrics import Metrics
from inference.server.workers.figures import add_up, export, render_families
from inference.server.workers.link import Kind, Link

pytestmark = pytest.mark.enable_socket


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


def linked(frames: list[tuple[Kind, int, bytes]]) -> tuple[Link, Transport]:
    link, transport = (
        Link(lambda *frame: frames.append((*frame[:2], bytes(frame[2]))), lambda: None),
        Transport(),
    )
    link.connection_made(transport)
    return link, transport


@pytest.mark.parametrize("size", [1, 3, 16, 17, 50, 10_000])
def test_frames_come_whole_however_they_are_cut(size: int) -> None:
    sent: list[tuple[Kind, int, bytes]] = [
        (Kind.STATE, 0, b"{}"),
        (Kind.COMPUTE, 7, b"x" * 100),
        (Kind.STOP, 0, b""),
        (Kind.MODEL, 2**40, b"y" * 3000),
    ]
    writer, transport = linked([])
    writer.send_all(sent)
    frames: list[tuple[Kind, int, bytes]] = []
    reader, _ = linked(frames)
    for at in range(0, len(transport.written), size):
        reader.data_received(transport.written[at : at + size])
    assert frames == sent


def test_a_broken_stream_closes_the_link() -> None:
    reader, transport = linked([])
    reader.data_received(b"\xff" * 32)
    assert transport.closed


def test_answers_come_in_any_order_and_one_given_up_is_cancelled() -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        asked: dict[bytes, int] = {}
        cancelled: list[int] = []

        def hear(kind: Kind, number: int, body: memoryview) -> None:
            if kind is Kind.CANCEL:
                cancelled.append(number)
            else:
                asked[bytes(body)] = number

        near, far = Link(lambda *_: None, lambda: None), Link(hear, lambda: None)
        await loop.create_connection(lambda: near, sock=ours)
        await loop.create_connection(lambda: far, sock=theirs)
        questions = {name: near.ask(Kind.COMPUTE, name, bytes) for name in (b"a", b"b", b"c", b"d", b"e")}
        futures = {name: question.future for name, question in questions.items()}
        while len(asked) < 5:
            await asyncio.sleep(0)
        far.send(Kind.ANSWER, asked[b"b"], b"B")
        far.send(Kind.ERROR, asked[b"a"], pack_error(EngineBusy("x", retry_after_s=2)))
        assert await futures[b"b"] == b"B"
        with pytest.raises(EngineBusy):
            await futures[b"a"]
        questions[b"c"].drop()
        while not cancelled:
            await asyncio.sleep(0)
        assert cancelled == [asked[b"c"]]
        far.send(Kind.ANSWER, asked[b"c"], b"C")  # too late: nobody waits
        far.send(Kind.ANSWER, asked[b"d"], b"D")
        assert await futures[b"d"] == b"D"
        far.close()
        with pytest.raises(EngineClosed):
            await futures[b"e"]
        with pytest.raises(EngineClosed):
            await near.ask(Kind.COMPUTE, b"f", bytes).future

    asyncio.run(run())


def test_figures_of_several_processes_add_up() -> None:
    made = []
    for count in (2, 3):
        metrics = Metrics()
        for _ in range(count):
            metrics.request("assay", 200, 4.0)
        metrics.request("hf", 429, 0.5)
        metrics.in_flight = count
        made.append(json.loads(json.dumps(export(metrics.registry))))
    text = render_families(add_up(made)).decode()
    for line in (
        'assay_requests_total{protocol="assay",status="200"} 5.0',
        'assay_requests_total{protocol="hf",status="429"} 2.0',
        'assay_request_ms_bucket{le="2.0",protocol="assay"} 0.0',
        'assay_request_ms_bucket{le="5.0",protocol="assay"} 5.0',
        'assay_request_ms_count{protocol="assay"} 5.0',
        'assay_request_ms_sum{protocol="assay"} 20.0',
        "assay_requests_in_flight 5.0",
    ):
        assert line in text.splitlines(), text
    assert text.count("# TYPE assay_requests_total counter") == 1


def test_log_lines_are_written_in_bundles_and_warnings_at_once() -> None:
    out = io.StringIO()
    handler = Bundles(out)
    handler.setFormatter(JsonLines())

    def log(level: int, event: str) -> None:
        handler.handle(logging.LogRecord("x", level, "", 0, event, None, None))

    async def run() -> None:
        log(logging.INFO, "one")
        log(logging.INFO, "two")
        assert out.getvalue() == ""
        await asyncio.sleep(2 * Bundles.PATIENCE_S)
        assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["one", "two"]
        log(logging.INFO, "three")
        log(logging.WARNING, "four")
        assert out.getvalue().count("\n") == 4

    asyncio.run(run())
    log(logging.INFO, "five")  # no event loop that would write it later
    assert out.getvalue().count("\n") == 5
