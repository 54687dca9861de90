"""The event loop's end of the connection to a model's process: what computes is trusted with answers and no more."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection

import pytest

from inference.engine.line import Line

Scene = Callable[[Line, socket.socket, list[object]], Awaitable[None]]


def play(scene: Scene) -> list[object]:
    """What the line told while the scene played: answers, and whether one was waited for when it was lost."""
    told: list[object] = []

    async def run() -> list[object]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        line = Line(told.append, told.append)
        await line.open(ours)
        with theirs:
            await scene(line, theirs, told)
            await told_of(told, 1)
            return list(told)

    return asyncio.run(run())


async def told_of(told: list[object], number: int) -> None:
    async with asyncio.timeout(5):
        while len(told) < number:
            await asyncio.sleep(0.005)


def test_a_question_and_its_answer_cross_as_the_other_end_speaks() -> None:
    async def scene(line: Line, theirs: socket.socket, told: list[object]) -> None:
        other: Connection[bytes, bytes] = Connection(theirs.detach())
        for number in (1, 2):
            line.ask(b"q" * 100_000, 5)
            assert await asyncio.to_thread(other.recv_bytes) == b"q" * 100_000
            await asyncio.to_thread(other.send_bytes, b"a" * 300_000)
            await told_of(told, number)

    assert play(scene) == [b"a" * 300_000] * 2


def test_an_answer_in_pieces_is_one_answer() -> None:
    async def scene(line: Line, theirs: socket.socket, told: list[object]) -> None:
        line.ask(b"", 5)
        for piece in (b"\0\0", b"\0", b"\3a", b"bc"):
            theirs.sendall(piece)
            await asyncio.sleep(0.02)

    assert play(scene) == [b"abc"]


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (False, b"\0\0\0\1a"),
        (True, b"\0\0\0\1ab"),
        (True, struct.pack("!i", -1) + bytes(8)),
        (True, struct.pack("!i", 2**31 - 1)),
    ],
    ids=["nobody asked", "more than one", "longer than the library's short head says", "huge"],
)
def test_what_is_no_answer_ends_the_connection(asked: bool, sent: bytes) -> None:
    async def scene(line: Line, theirs: socket.socket, _: list[object]) -> None:
        if asked:
            line.ask(b"q", 5)
        theirs.sendall(sent)

    assert play(scene) == [asked]


def test_whoever_waits_is_told_that_the_other_end_is_gone() -> None:
    async def scene(line: Line, theirs: socket.socket, _: list[object]) -> None:
        line.ask(b"q", 5)
        theirs.close()

    assert play(scene) == [True]


def test_an_answer_that_is_late_is_none() -> None:
    async def scene(line: Line, theirs: socket.socket, _: list[object]) -> None:
        line.ask(b"q", 0.05)

    assert play(scene) == [True]


def test_a_question_to_a_line_that_was_cut_is_lost_not_forgotten() -> None:
    async def scene(line: Line, theirs: socket.socket, _: list[object]) -> None:
        line.cut()
        line.ask(b"q", 5)

    assert play(scene) == [True]
