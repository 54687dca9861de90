"""Frames between the host and one web worker over a socket pair: a kind, a number, bytes. Neither side waits for the other."""

from __future__ import annotations

import asyncio
import json
import logging
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, Generic, TypeVar, cast

from inference.engine.errors import EngineClosed, InferenceError, describe_error
from inference.engine.wire import unpack_error

logger = logging.getLogger(__name__)

T = TypeVar("T")

_HEAD = struct.Struct("=IIQ")
# Far above the largest answer; more is a broken stream, and must not be collected until the memory is full.
_MOST = 1 << 30


class Kind(IntEnum):
    """What a frame says. The number is the request's, or 0."""

    # host to worker
    HELLO = 1  # JSON: settings, the worker's number
    MODEL = 2  # JSON: a model in memory; the worker answers KNOWN when it can tokenise for it
    STATE = 3  # JSON: which slot is served by which model
    STOP = 4  # finish what is in flight and end
    FIGURES = 5  # JSON: the scope of the figures to be told, as TOLD
    ANSWER = 6
    ERROR = 7
    REPLY = 8  # bytes: what ASK, ENCODE or ALL_FIGURES asked for
    # worker to host
    UP = 20  # takes connections from now on
    KNOWN = 21  # number: the model
    GONE = 22  # number: the model is not used any more
    COMPUTE = 23
    CANCEL = 24  # number: of a COMPUTE that nobody waits for any more
    WANTED = 25  # JSON: the slot of a model that waits for room in memory
    USED = 26  # JSON: slots used since the last one; also a sign of life
    TOLD = 27  # JSON: figures
    ALL_FIGURES = 28  # JSON: scope; a REPLY has the text for Prometheus
    ENCODE = 29  # JSON: inputs to tokenise; a REPLY has the encodings
    # both ways
    GRANT = 40  # JSON: digest of a token, and what it may do


class Link(asyncio.Protocol):
    """One end. `on_frame(kind, number, body)` and `on_lost()` are called on the event loop; `body` is a view
    that is good as long as somebody holds it."""

    def __init__(
        self, on_frame: Callable[[Kind, int, memoryview], None], on_lost: Callable[[], None]
    ) -> None:
        self._on_frame, self._on_lost = on_frame, on_lost
        self._transport: asyncio.Transport | None = None
        self._rest, self._need = bytearray(), 0
        self._number = 0
        self._waiting: dict[int, Question[Any]] = {}

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, kind: Kind, number: int, body: bytes = b"") -> None:
        """Nothing when the other side is gone: `on_lost` says so."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_HEAD.pack(len(body), kind, number) + body)

    def send_all(self, frames: list[tuple[Kind, int, bytes]]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(
                b"".join([_HEAD.pack(len(body), kind, number) + body for kind, number, body in frames])
            )

    def tell(self, kind: Kind, value: Any, number: int = 0) -> None:
        self.send(kind, number, json.dumps(value).encode())

    def ask(self, kind: Kind, body: bytes, read: Callable[[memoryview], T]) -> Question[T]:
        """Send; the future gives what `read` makes of the answer. Raises EngineClosed through the future when the
        other side is gone, and what came as an ERROR."""
        self._number += 1
        question: Question[T] = Question(self, self._number, read)
        if self.open:
            self._waiting[self._number] = question
            self.send(kind, self._number, body)
        else:
            question.future.set_exception(EngineClosed("The engine's host is gone."))
        return question

    def drop(self, number: int) -> None:
        """Nobody waits for that answer any more; the other side is told."""
        if self._waiting.pop(number, None) is not None:
            self.send(Kind.CANCEL, number)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # Answers are bounded by the requests in flight: there is nothing to hold back.
        self._transport.set_write_buffer_limits(high=_MOST)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            self._rest += data
            if len(self._rest) < self._need:
                return
            data = bytes(self._rest)
            self._rest.clear()
        view, at, end = memoryview(data), 0, len(data)
        while end - at >= _HEAD.size:
            size, kind, number = _HEAD.unpack_from(view, at)
            if size > _MOST:
                logger.error("link_broken", extra={"bytes": size})
                self.close()
                return
            after = at + _HEAD.size + size
            if after > end:
                self._need = after - at
                break
            self._take(kind, number, view[at + _HEAD.size : after])
            at = after
        else:
            self._need = _HEAD.size
        if at < end:
            self._rest += view[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        questions, self._waiting = self._waiting, {}
        for question in questions.values():
            question.fail(EngineClosed("The engine's host is gone."))
        self._on_lost()

    def _take(self, kind: int, number: int, body: memoryview) -> None:
        if kind in (Kind.ANSWER, Kind.ERROR, Kind.REPLY):
            self._settle(kind, number, body)
            return
        try:
            self._on_frame(Kind(kind), number, body)
        except Exception as exc:
            # One frame that cannot be dealt with must not cost the others of this chunk.
            logger.error("frame_failed", extra={"kind": kind, "error": describe_error(exc)})

    def _settle(self, kind: int, number: int, body: memoryview) -> None:
        question = self._waiting.pop(number, None)
        if question is None or question.future.done():
            return
        try:
            if kind == Kind.ERROR:
                question.fail(unpack_error(body))
            else:
                question.future.set_result(question.read(body))
        except InferenceError as exc:
            question.fail(exc)
        except Exception as exc:
            logger.error("answer_failed", extra={"error": describe_error(exc)})
            question.fail(InferenceError(f"The answer could not be read ({type(exc).__name__})."))


class Question(Generic[T]):
    """What was asked, until it is answered or dropped."""

    __slots__ = ("_link", "_number", "future", "read")

    def __init__(self, link: Link, number: int, read: Callable[[memoryview], T]) -> None:
        self._link, self._number, self.read = link, number, read
        self.future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    def drop(self) -> None:
        """Nobody waits any more."""
        self._link.drop(self._number)

    def fail(self, exc: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(exc)
