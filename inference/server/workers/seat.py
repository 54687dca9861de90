"""One web worker as its host sees it: a process, a connection, and what it holds of us."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inference.engine.errors import EngineClosed
from inference.engine.inbox import Inbox
from inference.engine.job import Job
from inference.engine.wire import pack_answer, pack_error, unpack_job
from inference.server.loading import LoadedModel
from inference.server.threads import in_thread
from inference.server.tokens import Grant
from inference.server.workers.board import Board
from inference.server.workers.figures import Families
from inference.server.workers.link import Kind, Link

if TYPE_CHECKING:
    from inference.server.workers.crew import Crew

ROOT = Path(__file__).resolve().parents[3]


class Seat:
    """Everything the worker holds (models, queued requests) goes back when its connection closes, however it
    ends."""

    def __init__(self, crew: Crew, number: int, board: Board) -> None:
        self._crew, self.number, self._board = crew, number, board
        self._loop = asyncio.get_running_loop()
        self.link = Link(self._on_frame, self._on_lost)
        self.up = False
        self.started_at = self.heard_at = time.monotonic()
        self.last_figures: dict[str, Families] = {}
        self._questions = itertools.count(1)
        self._asked_figures: dict[int, tuple[str, asyncio.Future[None]]] = {}
        self._leases: dict[int, tuple[LoadedModel, asyncio.Future[None]]] = {}
        self._running: dict[int, Job] = {}
        self._computed_frames: Inbox[tuple[Kind, int, bytes]] = Inbox(self._send_computed)

    async def start(self, hello: dict[str, Any]) -> None:
        """Raises OSError."""
        ours, theirs = socket.socketpair()
        # A stream: of datagrams the kernel keeps ten, and a crowd comes in hundreds.
        self._gifts, their_gifts = socket.socketpair()
        self._gifts.setblocking(False)
        fds = (theirs.fileno(), their_gifts.fileno(), self._board.fd)
        with theirs, their_gifts:
            self._process = self._launch(fds)
        await self._loop.create_connection(lambda: self.link, sock=ours)
        self.link.tell(Kind.HELLO, hello)

    @staticmethod
    def _launch(fds: tuple[int, ...]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "inference.server.workers.worker", *map(str, fds)],
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            # Processes are what uses the cores here; threads of the tokenizers would only stand in their way.
            env={**os.environ, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"},
        )

    def kill(self) -> None:
        """End it at once; `_on_lost` follows."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self.link.close()

    # Connections

    @property
    def connections(self) -> int:
        return self._board.given[self.number] - self._board.ended[self.number]

    def give(self, connection: socket.socket) -> bool:
        """Whether the worker got it."""
        try:
            socket.send_fds(self._gifts, [b"c"], [connection.fileno()])
        except OSError:
            return False
        self._board.given[self.number] += 1
        return True

    # Models

    def lease(self, model: LoadedModel, facts: bytes) -> asyncio.Future[None]:
        """The worker gets to know the model, and the model stays in memory until the worker has let it go."""
        known: asyncio.Future[None] = self._loop.create_future()
        if self.link.open and model.number not in self._leases:
            model.in_flight += 1
            self._leases[model.number] = (model, known)
            self.link.send(Kind.MODEL, 0, facts)
        else:
            known.set_result(None)
        return known

    async def figures(self, scope: str) -> None:
        """Into `last_figures`."""
        number = next(self._questions)
        told: asyncio.Future[None] = self._loop.create_future()
        self._asked_figures[number] = (scope, told)
        self.link.send(Kind.FIGURES, number, scope.encode())
        try:
            await told
        finally:
            self._asked_figures.pop(number, None)

    # What the worker says

    def _on_frame(self, kind: Kind, number: int, body: memoryview) -> None:
        if kind is Kind.COMPUTE:
            self._compute(number, body)
        elif kind is Kind.CANCEL:
            if job := self._running.pop(number, None):
                job.drop()
        else:
            self._control(kind, number, bytes(body))

    def _control(self, kind: Kind, number: int, body: bytes) -> None:
        self.heard_at = time.monotonic()
        match kind:
            case Kind.UP:
                self.up = True
            case Kind.KNOWN:
                if number in self._leases and not (known := self._leases[number][1]).done():
                    known.set_result(None)
            case Kind.GONE:
                self._give_back(number)
            case Kind.USED | Kind.WANTED:
                self._crew.used(json.loads(body), wanted=kind is Kind.WANTED)
            case Kind.TOLD:
                scope, told = self._asked_figures.get(number, ("", None))
                if told is not None and not told.done():
                    self.last_figures[scope] = json.loads(body)
                    told.set_result(None)
            case Kind.ALL_FIGURES:
                self._crew.spawn(self._reply(number, self._crew.figures(body.decode())))
            case Kind.ENCODE:
                self._crew.spawn(self._reply(number, self._encode(json.loads(body))))
            case Kind.GRANT:
                told_grant = json.loads(body)
                self._crew.learn(self, told_grant["digest"], Grant.read(told_grant["grant"]))
            case _:
                raise ValueError(f"A worker does not say {kind}.")

    def _compute(self, number: int, body: memoryview) -> None:
        try:
            job = unpack_job(body)
            model, _ = self._leases.get(job.engine, (None, None))
            if model is None:
                raise EngineClosed("The worker does not hold this model.")
            self._running[number] = model.engine.compute(job, partial(self._computed, number))
        except Exception as exc:
            self.link.send(Kind.ERROR, number, pack_error(exc))

    def _computed(self, number: int, job: Job) -> None:
        """Called by an engine's thread."""
        if job.error is None:
            frame = (Kind.ANSWER, number, pack_answer(job.rows, job.queue_ms, job.inference_ms))
        else:
            frame = (Kind.ERROR, number, pack_error(job.error))
        self._computed_frames.put(frame)

    def _send_computed(self, frames: list[tuple[Kind, int, bytes]]) -> None:
        for _, number, _ in frames:
            self._running.pop(number, None)
        self.link.send_all(frames)

    async def _reply(self, number: int, work: Any) -> None:
        try:
            answer: bytes = await work
        except Exception as exc:
            self.link.send(Kind.ERROR, number, pack_error(exc))
        else:
            self.link.send(Kind.REPLY, number, answer)

    async def _encode(self, asked: dict[str, Any]) -> bytes:
        """Tokens of a tokenizer that only this process can run."""
        model, _ = self._leases[asked["engine"]]
        inputs = [one if isinstance(one, str) else tuple(one) for one in asked["inputs"]]
        encodings = await in_thread(partial(model.engine.count_tokens, inputs))
        return json.dumps([[e.input_ids, e.type_ids, e.truncated] for e in encodings]).encode()

    def _give_back(self, number: int) -> None:
        model, known = self._leases.pop(number, (None, None))
        if model is not None and known is not None:
            if not known.done():
                known.set_result(None)
            self._crew.released(model)

    def _on_lost(self) -> None:
        self.up = False
        for job in self._running.values():
            job.drop()
        self._running.clear()
        for number in list(self._leases):
            self._give_back(number)
        for _, told in self._asked_figures.values():
            if not told.done():
                told.set_result(None)
        self._gifts.close()
        self._board.clear(self.number)
        self._crew.lost(self)
        # Its connection is closed: it ends by itself, or has ended.
        in_thread(self._reap)

    def _reap(self) -> None:
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
