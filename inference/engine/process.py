"""A backend whose forward pass runs on the main thread of another process.

There it is alone with its threads (off the main thread OpenMP loses a third, measured), a crash costs a batch and
not the server, and the process that speaks HTTP never imports torch. Numbers cross as bytes and JSON, never as
pickles: what computes is not trusted with more than answers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from inference.engine.backend import Encoding, Numbers
from inference.engine.errors import BackendLost, ModelLoadError
from inference.engine.line import Line
from inference.engine.remote import tokeniser_from
from inference.engine.spawn import lanes_for, take
from inference.engine.tasks import Head, Input
from inference.engine.tokenise import Tokeniser
from inference.engine.types import ClassifierConfig, Variant
from inference.engine.wire import pack_batch, unpack_rows

logger = logging.getLogger(__name__)

_LOAD_S = 300.0
_FORWARD_S = 120.0


def load_in_processes(config: ClassifierConfig, *, threads: int | None = None) -> list[ProcessBackend]:
    """The snapshot's backend behind as many processes as suit it: one for CUDA, on a CPU one a core, which share the
    weights' memory (`spawn.lanes_for`; `config.layout` chooses). Raises ModelLoadError as `load_backend` does."""
    lanes, each = lanes_for(threads, config.layout)
    group = _Group(config, lanes=lanes, threads=each)
    facts = group.start()
    tokeniser = tokeniser_from(facts, facts["max_length"], Head(**facts["head"]), config.snapshot)
    return [ProcessBackend(group, lane, tokeniser, facts) for lane in range(group.lanes)]


class _Group:
    """The processes of one model, and a connection to each."""

    def __init__(self, config: ClassifierConfig, *, lanes: int, threads: int) -> None:
        self.config, self.lanes, self.threads = config, lanes, threads
        self.connections: dict[int, Connection[Any, Any]] = {}
        self._children: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def start(self) -> dict[str, Any]:
        """Start all lanes; what the model is."""
        facts = self._launch(range(self.lanes))
        # One process suits a GPU, whatever the precision.
        for lane in range(int(facts["lanes"]), self.lanes):
            self.lose(lane)
        self.lanes = int(facts["lanes"])
        return facts

    def restart(self, lane: int) -> None:
        """Another process for a lane whose process is gone. It has its own copy of the weights."""
        logger.error("engine_process_restarts", extra={"model_id": self.config.model_id, "lane": lane})
        self._launch([lane])

    def lose(self, lane: int) -> None:
        """Close the lane's connection, if it has one; its process ends when it notices."""
        if connection := self.connections.pop(lane, None):
            connection.close()

    def hand_over(self, lane: int) -> socket.socket:
        """The lane's connection, which is the caller's from now on."""
        connection = self.connections.pop(lane)
        handed = socket.socket(fileno=os.dup(connection.fileno()))
        connection.close()
        handed.setblocking(False)
        return handed

    def end(self, lane: int) -> None:
        """The lane is not needed any more; with the last one the processes end."""
        self.lose(lane)
        self.lanes -= 1
        if self.lanes:
            return
        for child in self._children:
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _launch(self, lanes: Sequence[int]) -> dict[str, Any]:
        with self._lock:
            started = take(len(lanes), self.threads)
            self._children.append(started.child)
            fields = {name: str(v) if isinstance(v, Path) else v for name, v in asdict(self.config).items()}
            request = {"config": fields, "threads": self.threads}
            facts = _first_answer(started.ends[0], request, started.child)
            self.connections.update(zip(lanes, started.ends, strict=True))
            return facts


def _first_answer(
    connection: Connection[Any, Any], request: dict[str, Any], child: subprocess.Popen[bytes]
) -> dict[str, Any]:
    """What the model is. Raises ModelLoadError; the process has then ended."""
    try:
        connection.send_bytes(json.dumps(request).encode())
        if not connection.poll(_LOAD_S):
            raise ModelLoadError("The model's process did not load it in time.", code="load_timeout")
        facts: dict[str, Any] = json.loads(connection.recv_bytes())
    except (EOFError, OSError):
        child.wait()
        raise ModelLoadError(
            "The model's process ended while it loaded the model.", code="load_failed"
        ) from None
    except ModelLoadError:
        child.kill()
        child.wait()
        raise
    if "error" in facts:
        child.wait()
        raise ModelLoadError(facts["message"], code=facts["error"])
    return facts


class ProcessBackend:
    """Implements `LoopBackend`: encodes here, computes there. Encodings may hold arrays in the place of lists, and
    no segment ids where all are 0."""

    takes_arrays = True

    def __init__(self, group: _Group, lane: int, tokeniser: Tokeniser, facts: dict[str, Any]) -> None:
        self._group, self._lane, self._tokeniser = group, lane, tokeniser
        self._types: bool = facts["types"]
        self._closed = False
        # Of the event loop that drives it, if one does.
        self._done: Callable[[Numbers | BaseException], None] | None = None
        self._line: Line | None = None
        self._lengths: list[int] = []
        # Only the first of several may have more than one thread, and has them while the others rest.
        self.most_threads = group.threads if lane == 0 and group.lanes > 1 else 1
        self._threads = self.most_threads if group.lanes > 1 else 0  # 0: as the process began
        self._restarting: asyncio.Task[None] | None = None
        self.labels: tuple[str, ...] = tuple(facts["labels"])
        self.head = Head(**facts["head"])
        self.variant = Variant(**facts["variant"])
        self.device: str = facts["variant"]["device"]
        self.max_length: int = facts["max_length"]
        self.token_budget: int = facts["token_budget"]
        self.pads: bool = facts["pads"]

    def encode(self, inputs: Sequence[Input]) -> list[Encoding]:
        return self._tokeniser.encode(inputs)

    def tokeniser_facts(self) -> dict[str, Any]:
        """What another process needs to encode as this backend does."""
        return self._tokeniser.facts()

    def join(self, words: Sequence[str]) -> str:
        return self._tokeniser.join(words)

    def spread(self, *, wide: bool) -> None:
        self._threads = self.most_threads if wide else 1

    def forward(self, batch: Sequence[Encoding]) -> Numbers:
        """Raises BackendLost when the process is gone (the next call starts another), and what it reports."""
        if self._closed or self._done is not None:
            raise RuntimeError("The model was closed, or an event loop drives it.")
        if self._lane not in self._group.connections:
            self._group.restart(self._lane)
        connection = self._group.connections[self._lane]
        try:
            connection.send_bytes(pack_batch(batch, types=self._types, threads=self._threads))
            if not connection.poll(_FORWARD_S):
                raise EOFError
            answer = connection.recv_bytes()
        except (EOFError, OSError) as exc:
            self._group.lose(self._lane)
            raise _gone() from exc
        return self._read(answer, [len(encoding) for encoding in batch])

    async def attach(self, done: Callable[[Numbers | BaseException], None]) -> None:
        self._done = done
        await self._connect()

    def begin(self, batch: Sequence[Encoding]) -> None:
        """The answer, or what `forward` raises, goes to whom `attach` was told."""
        if self._closed:
            raise RuntimeError("The model was closed.")
        self._lengths = [len(encoding) for encoding in batch]
        body = pack_batch(batch, types=self._types, threads=self._threads)
        if self._line is not None:
            self._line.ask(body, _FORWARD_S)
        else:
            self._restarting = asyncio.get_running_loop().create_task(self._restart(body))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._line is not None:
            self._line.cut()
        self._group.end(self._lane)

    async def _connect(self) -> None:
        line = Line(self._answered, self._lost)
        await line.open(self._group.hand_over(self._lane))
        self._line = line
        if self._closed:
            line.cut()

    async def _restart(self, body: bytes) -> None:
        """Another process, then the batch that found none."""
        try:
            await asyncio.get_running_loop().run_in_executor(None, self._group.restart, self._lane)
            await self._connect()
        except Exception as exc:
            self._tell(exc)
            return
        assert self._line is not None
        self._line.ask(body, _FORWARD_S)

    def _answered(self, body: bytes) -> None:
        try:
            answer: Numbers | BaseException = self._read(body, self._lengths)
        except Exception as exc:
            answer = exc
        self._tell(answer)

    def _lost(self, asked: bool) -> None:
        """The process is gone, or hangs."""
        self._line = None
        if asked:
            self._tell(_gone())

    def _tell(self, answer: Numbers | BaseException) -> None:
        assert self._done is not None
        self._done(answer)

    def _read(self, body: bytes, lengths: list[int]) -> Numbers:
        """What the process sent, by input. A wrong amount is noticed by its shape. Raises what the process reports."""
        numbers = unpack_rows(body)
        if self.head.kind != "tag":
            size = self.head.size if len(numbers) == len(lengths) * self.head.size else 1
            return numbers.reshape(-1, size)
        rows = numbers.reshape(-1, self.head.size)
        return np.split(rows, np.cumsum(lengths)[:-1])


def _gone() -> BackendLost:
    return BackendLost("The model's process ended or hung.")
