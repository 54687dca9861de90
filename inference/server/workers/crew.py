"""The host's web workers: started, told what is served, computed for, counted, and started again when they die."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import socket
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inference.engine.errors import describe_error
from inference.server.fleet import Fleet
from inference.server.loading import LoadedModel
from inference.server.manifest import SlotKey
from inference.server.metrics import Metrics
from inference.server.state import ServerState
from inference.server.tokens import Grant
from inference.server.workers.board import ENGINES, Board
from inference.server.workers.figures import Families, add_up, export, render_families
from inference.server.workers.link import Kind
from inference.server.workers.seat import Seat

logger = logging.getLogger(__name__)

_KNOW_S = 60.0
_FIGURES_S = 2.0
# A worker that says nothing for so long hangs. It says something every second.
SILENCE_S = 20.0
_WATCH_S = 1.0
# A killed process is gone at once; more than this is a kernel in trouble, and no reason not to end.
_KILLED_S = 5.0
_LEAST_PAUSE_S, _MOST_PAUSE_S, _YOUNG_S = 0.1, 5.0, 30.0


class Crew:
    """All workers of one server. On the event loop only."""

    def __init__(self, state: ServerState, fleet: Fleet, board: Board, workers: int) -> None:
        self.state, self.fleet, self.board = state, fleet, board
        self._workers = workers
        # Without a key from the settings the server makes one, and all its workers hash alike.
        self._log_key = state.settings.log_key or secrets.token_hex(32)
        self._young: dict[int, int] = {}
        self.seats: dict[int, Seat] = {}
        self.models: dict[int, LoadedModel] = {}
        self._facts: dict[int, bytes] = {}
        self._cells: dict[int, int] = {}
        self._last_state = b""
        self._next = 0
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        # What workers that are gone had counted, by scope.
        self._departed: dict[str, Families] = {}
        fleet.announce, fleet.told = self.announce, self.push

    async def start(self) -> None:
        """Start every worker; returns when they run, not when they are up."""
        for number in range(self._workers):
            await self._seat(number)
        self.spawn(self._watch())

    # What is served

    async def announce(self, model: LoadedModel) -> None:
        """A model was loaded: every worker makes ready to tokenise for it, before it may answer."""
        facts = {
            "number": model.number,
            "key": list(model.key),
            "snapshot": str(model.snapshot),
            "size_bytes": model.size_bytes,
            "cell": self._publish(model),
            "facts": model.engine.describe(),
        }
        self.models[model.number] = model
        self._facts[model.number] = json.dumps(facts).encode()
        # First that it is there: a worker lets go of a model that the host's state does not name.
        self.push()
        await asyncio.gather(*(self._introduce(seat, model.number) for seat in list(self.seats.values())))

    async def _introduce(self, seat: Seat, number: int) -> None:
        if number not in self.models:
            return  # Unloaded meanwhile.
        known = seat.lease(self.models[number], self._facts[number])
        try:
            async with asyncio.timeout(_KNOW_S):
                await known
        except TimeoutError:
            logger.error("worker_slow", extra={"worker": seat.number, "model": number})
            seat.kill()

    def push(self) -> None:
        """Tell every worker what is served, when it is not what they know already."""
        for number, model in list(self.models.items()):
            if model.retired and model.in_flight == 0:
                self._forget(number)
        told = json.dumps(self._told()).encode()
        if told != self._last_state:
            self._last_state = told
            for seat in self.seats.values():
                seat.link.send(Kind.STATE, 0, told)

    def _told(self) -> dict[str, Any]:
        fleet = self.fleet
        return {
            "generation": fleet.generation,
            "ready": fleet.ready,
            "draining": self.state.draining,
            "models": [number for number, model in self.models.items() if not model.retired],
            "slots": [
                {
                    **slot.served.slot._asdict(),
                    "commit_sha": slot.served.commit_sha,
                    "manifest_sha256": slot.served.manifest_sha256,
                    "task": slot.served.task,
                    "max_length": slot.served.max_length,
                    "state": slot.state,
                    "error": slot.error,
                    "since": slot.since.isoformat(),
                    "current": slot.current.number if slot.current else None,
                }
                for slot in fleet.slots
            ],
        }

    def released(self, model: LoadedModel) -> None:
        """A worker does not use the model any more."""
        self.fleet.give_back(model)
        if model.retired and model.in_flight == 0:
            self._forget(model.number)

    def used(self, keys: list[list[str]], *, wanted: bool) -> None:
        """Slots that requests used, or want although they wait for room."""
        now, by_key = time.monotonic(), {slot.served.slot: slot for slot in self.fleet.slots}
        for key in keys:
            if slot := by_key.get(SlotKey(*key)):
                slot.used_at = now
                if wanted and slot.state == "waiting":
                    self.fleet.ask_for(slot)

    def learn(self, source: Seat, digest: str, grant: Grant) -> None:
        """One worker asked the control plane about a token: the others need not."""
        self.state.tokens.learn(digest, grant)
        for seat in self.seats.values():
            if seat is not source:
                seat.link.tell(Kind.GRANT, {"digest": digest, "grant": asdict(grant)})

    def _publish(self, model: LoadedModel) -> int | None:
        """The board's cell where the engine counts what waits; None when all are taken."""
        taken = set(self._cells.values())
        cell = next((n for n in range(ENGINES) if n not in taken), None)
        if cell is not None:
            self._cells[model.number] = cell
            model.engine.publish_waiting(self.board.queues, 2 * cell, 2 * cell + 1)
        return cell

    def _forget(self, number: int) -> None:
        del self.models[number], self._facts[number]
        self._cells.pop(number, None)

    # Connections

    def give(self, connection: socket.socket) -> bool:
        """Hand an accepted connection to the worker with the fewest; by turns where they are equal. So a few
        kept connections spread evenly, which neither a shared listening socket nor SO_REUSEPORT does. False
        when none can take one just now."""
        seats = [seat for seat in self.seats.values() if seat.up]
        self._next += 1
        seats.sort(key=lambda seat: (seat.connections, (seat.number - self._next) % self._workers))
        return any(seat.give(connection) for seat in seats)

    @property
    def takes(self) -> bool:
        return any(seat.up for seat in self.seats.values())

    @property
    def whole(self) -> bool:
        """Whether every worker takes connections."""
        return [seat.up for seat in self.seats.values()] == [True] * self._workers

    # Workers

    async def _seat(self, number: int) -> None:
        self.board.clear(number)
        seat = Seat(self, number, self.board)
        self.seats[number] = seat
        try:
            await seat.start(self._hello(number))
        except BaseException:
            self.seats.pop(number, None)
            raise
        if not seat.link.open:
            return  # It has ended already, and `lost` has seen to it.
        for model in self.models.values():
            if not model.retired:
                self.spawn(self._introduce(seat, model.number))
        seat.link.tell(Kind.STATE, self._told())
        for digest, grant in self.state.tokens.entries().items():
            seat.link.tell(Kind.GRANT, {"digest": digest, "grant": asdict(grant)})

    def _hello(self, number: int) -> dict[str, Any]:
        settings = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self.state.settings).items()}
        settings["log_key"] = self._log_key
        return {
            "settings": settings,
            "worker": number,
            "workers": self._workers,
            "replica": self.state.replica,
        }

    def lost(self, seat: Seat) -> None:
        """The worker's process ended, or was ended. What it had queued is dropped; another takes its place."""
        if self.seats.get(seat.number) is seat:
            del self.seats[seat.number]
        for scope, families in seat.last_figures.items():
            self._departed[scope] = add_up([self._departed.get(scope, []), families])
        if not self._stopping:
            lived_s = time.monotonic() - seat.started_at
            logger.error("worker_lost", extra={"worker": seat.number, "lived_s": round(lived_s, 1)})
            self._young[seat.number] = 0 if lived_s > _YOUNG_S else self._young.get(seat.number, 0) + 1
            self.spawn(self._replace(seat.number))

    async def _replace(self, number: int) -> None:
        """Start another; where one after the other dies young, with growing pauses."""
        await asyncio.sleep(min(_MOST_PAUSE_S, _LEAST_PAUSE_S * 2 ** min(self._young[number], 10)))
        while not self._stopping:
            try:
                await self._seat(number)
                return
            except OSError as exc:
                logger.error("worker_start_failed", extra={"worker": number, "error": describe_error(exc)})
                await asyncio.sleep(_MOST_PAUSE_S)

    async def _watch(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(_WATCH_S)
            self.push()
            now = time.monotonic()
            stood_still, last = now - last > 3 * _WATCH_S, now
            for seat in list(self.seats.values()):
                if stood_still:
                    # So did the whole machine, or somebody stopped us all: silence says nothing.
                    seat.heard_at = now
                elif seat.up and now - seat.heard_at > SILENCE_S:
                    logger.error("worker_hangs", extra={"worker": seat.number})
                    seat.kill()

    def spawn(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Figures

    async def figures(self, scope: str) -> bytes:
        """All workers' figures of the server ("") or of one model (its key as JSON), for Prometheus."""
        seats = [seat for seat in self.seats.values() if seat.up]
        asked = [asyncio.ensure_future(seat.figures(scope)) for seat in seats]
        if asked:
            await asyncio.wait(asked, timeout=_FIGURES_S)
        for task in asked:
            task.cancel()
        told = [seat.last_figures[scope] for seat in seats if scope in seat.last_figures]
        own: list[Families] = []
        if not scope:
            metrics = Metrics()
            metrics.models = self.fleet.counts()
            own.append(export(metrics.registry))
        return render_families(add_up([*own, self._departed.get(scope, []), *told]))

    # The end

    async def stop(self, patience_s: float) -> None:
        """Have every worker answer what it holds and end; those that do not are ended."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        for seat in self.seats.values():
            seat.link.send(Kind.STOP, 0)
        until = time.monotonic() + patience_s
        while self.seats and time.monotonic() < until:
            await asyncio.sleep(0.02)
        for seat in list(self.seats.values()):
            logger.error("worker_did_not_end", extra={"worker": seat.number})
            seat.kill()
        until = time.monotonic() + _KILLED_S
        while self.seats and time.monotonic() < until:
            await asyncio.sleep(0.02)
