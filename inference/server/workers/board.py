"""A little memory that all processes of one server map: counts of one writer each, and the callers' quotas.

What it is for must not cost a question to the host: is there a place, is the queue full, has this token used its share. A count
has one writer, so none needs a lock. A quota has many; they lock the file, and a lock of a process that dies is gone.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
import tempfile
import time
from collections.abc import Callable

from inference.server.quota import refuse_over_quota

WORKERS = 64
ENGINES = 256
_CELLS = 3 * WORKERS + 2 * ENGINES
_TABLE = _CELLS * 8
# A caller: digest of the token's id, then level and time of the request bucket and of the token bucket.
_CALLER = struct.Struct("=16sdddd")
_CALLERS = 8192
_PROBES = 16
_BYTES = _TABLE + (_CALLERS + _PROBES) * _CALLER.size


def new_board() -> int:
    """A file descriptor of an empty board; in memory where the system can."""
    if hasattr(os, "memfd_create"):
        board = os.memfd_create("assay-board")
    else:
        with tempfile.TemporaryFile() as file:
            board = os.dup(file.fileno())
    os.ftruncate(board, _BYTES)
    return board


class Board:
    """The counts, by worker and by engine. Cells are 64-bit; reading one that is being written gives the old
    value or the new one."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.map = mmap.mmap(fd, _BYTES)
        cells = memoryview(self.map)[:_TABLE].cast("q")
        # Requests in flight and connections that have ended, written by the worker; connections given, by the host.
        self.in_flight, self.ended, self.given = (cells[n * WORKERS : (n + 1) * WORKERS] for n in range(3))
        # By engine, two numbers written by the host: inputs that wait for a forward pass, and how many may.
        self.queues = cells[3 * WORKERS :]

    def clear(self, worker: int) -> None:
        """What a process that is gone had counted."""
        for cells in (self.in_flight, self.ended, self.given):
            cells[worker] = 0


class SharedQuotas:
    """As `Quotas`, exact over all workers. The table keeps the callers seen last; one that was pushed out
    begins with a full bucket, as a new one does."""

    def __init__(
        self,
        board: Board,
        requests_per_s: float,
        tokens_per_minute: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._board = board
        self._rates = (requests_per_s, tokens_per_minute / 60)
        self._sizes = (max(1.0, requests_per_s * 2), tokens_per_minute)
        self._clock = clock
        self._on = any(self._rates)

    def begin(self, token_id: str) -> None:
        """Count one request. Raises ApiError 429 with Retry-After."""
        if self._on:
            waits = self._change(token_id, 1, 0, only_within=True)
            refuse_over_quota(waits)

    def spend(self, token_id: str, tokens: int) -> None:
        """Count the model tokens of an answered request; the next request waits if they were too many."""
        if self._rates[1]:
            self._change(token_id, 0, tokens, only_within=False)

    def _change(self, token_id: str, requests: int, tokens: int, *, only_within: bool) -> tuple[float, float]:
        """Take from both buckets, unless `only_within` and one of them is empty; seconds until each has some."""
        digest = hashlib.blake2b(token_id.encode(), digest_size=16).digest()
        table, now = self._board.map, self._clock()
        fcntl.lockf(self._board.fd, fcntl.LOCK_EX)
        try:
            place = self._place(digest, now)
            _, first, first_at, second, second_at = _CALLER.unpack_from(table, place)
            first = min(self._sizes[0], first + (now - first_at) * self._rates[0])
            second = min(self._sizes[1], second + (now - second_at) * self._rates[1])
            waits = (_wait(first, self._rates[0]), _wait(second, self._rates[1]))
            if not (only_within and any(waits)):
                first, second = first - requests, second - tokens
            _CALLER.pack_into(table, place, digest, first, now, second, now)
        finally:
            fcntl.lockf(self._board.fd, fcntl.LOCK_UN)
        return waits

    def _place(self, digest: bytes, now: float) -> int:
        """Where the caller stands; a new one takes a free place, or that of the one seen longest ago nearby."""
        table = self._board.map
        start = _TABLE + int.from_bytes(digest[:4], "little") % _CALLERS * _CALLER.size
        oldest, oldest_at = start, float("inf")
        for place in range(start, start + _PROBES * _CALLER.size, _CALLER.size):
            known, _, seen_at, _, _ = _CALLER.unpack_from(table, place)
            if known == digest:
                return place
            if seen_at < oldest_at:
                oldest, oldest_at = place, seen_at
        _CALLER.pack_into(table, oldest, digest, self._sizes[0], now, self._sizes[1], now)
        return oldest


def _wait(level: float, rate: float) -> float:
    return 0.0 if not rate or level > 0 else -level / rate + 0.001
