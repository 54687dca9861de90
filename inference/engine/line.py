"""The event loop's end of the connection to a model's process: one question, then its answer.

Frames are those of `multiprocessing.connection.Connection.send_bytes`, which the other end speaks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Callable
from typing import cast

logger = logging.getLogger(__name__)

# Bytes that follow. (Frames of 2 GiB and more have a longer head; no batch is that large.)
_HEAD = struct.Struct("!i")
# Far above the largest answer; more is a broken stream, and must not be collected until the memory is full.
_MOST = 1 << 30


class Line(asyncio.Protocol):
    """`on_answer(body)` and `on_lost(asked)` (whether an answer was waited for; once) are called on the event loop. An
    answer that nobody asked for, or that does not come in time, ends the connection."""

    def __init__(self, on_answer: Callable[[bytes], None], on_lost: Callable[[bool], None]) -> None:
        self._on_answer, self._on_lost = on_answer, on_lost
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._came = bytearray()
        self._asked = False
        self._late: asyncio.TimerHandle | None = None

    async def open(self, connected: socket.socket) -> None:
        """Takes the socket over. Raises OSError."""
        self._socket = connected
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=connected)

    def ask(self, body: bytes, timeout_s: float) -> None:
        """`on_answer` or `on_lost` follows, never before this returns."""
        self._asked = True
        loop = asyncio.get_running_loop()
        self._late = loop.call_later(timeout_s, self.cut)
        if self._transport is None or self._transport.is_closing():
            return  # `connection_lost` is on its way, and tells.
        self._transport.write(_HEAD.pack(len(body)) + body)

    def cut(self) -> None:
        """From any thread: the other end sees at once that we are gone; `on_lost` follows."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # It is closed already.
                self._socket.shutdown(socket.SHUT_RDWR)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        # One batch at a time: there is nothing to hold back.
        self._transport.set_write_buffer_limits(high=_MOST)

    def data_received(self, data: bytes) -> None:
        self._came += data
        if len(self._came) < _HEAD.size:
            return
        (size,) = _HEAD.unpack_from(self._came)
        whole = _HEAD.size + size
        if not self._asked or not 0 <= size <= _MOST or len(self._came) > whole:
            logger.error("model_process_broken", extra={"bytes": size})
            self.cut()
            return
        if len(self._came) < whole:
            return
        body = bytes(self._came[_HEAD.size :])
        self._came.clear()
        self._settle()
        self._on_answer(body)

    def connection_lost(self, exc: Exception | None) -> None:
        asked = self._asked
        self._settle()
        self._on_lost(asked)

    def _settle(self) -> None:
        self._asked = False
        if self._late is not None:
            self._late.cancel()
            self._late = None
