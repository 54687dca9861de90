"""The host's fleet as a web worker sees it: the same slots, with models that compute in the host."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from inference.engine.prepared import Encoder
from inference.engine.remote import Host, RemoteEngine
from inference.server.loading import LoadedModel
from inference.server.manifest import ModelKey, ServedModel, SlotKey
from inference.server.slots import Slot, Slots
from inference.server.workers.board import Board

logger = logging.getLogger(__name__)

_ASK_AGAIN_S = 0.5


class Mirror(Slots):
    """What the host said last. `released(number)` tells it that a model is not used here any more, `wanted(key)`
    that a waiting one is asked for."""

    def __init__(
        self,
        host: Host,
        board: Board,
        released: Callable[[int], None],
        wanted: Callable[[SlotKey], None],
    ) -> None:
        super().__init__()
        self._host, self._board, self._released, self._wanted = host, board, released, wanted
        self._models: dict[int, LoadedModel] = {}
        self._told: dict[str, Any] = {}
        self._asked_at: dict[SlotKey, float] = {}

    @property
    def generation(self) -> str | None:
        generation: str | None = self._told.get("generation")
        return generation

    @property
    def ready(self) -> bool:
        return bool(self._told.get("ready")) and self._host.open

    @property
    def whole(self) -> bool:
        """Whether the host has spoken, and every model that answers is known here."""
        return bool(self._told) and all(
            line["current"] is None or line["current"] in self._models for line in self._told["slots"]
        )

    def ask_for(self, slot: Slot) -> None:
        key, now = slot.served.slot, time.monotonic()
        if now - self._asked_at.get(key, 0.0) > _ASK_AGAIN_S:
            self._asked_at[key] = now
            self._wanted(key)

    def unload(self, model: LoadedModel) -> None:
        self._models.pop(model.number, None)
        self._released(model.number)

    def know(self, told: dict[str, Any], encoder: Encoder | None) -> None:
        """A model in the host's memory, with what makes tokens for it here."""
        number, cell = told["number"], told["cell"]
        queues, most = self._board.queues, told["facts"]["max_queued_inputs"]

        def queue() -> tuple[int, int]:
            return (0, most) if cell is None else (queues[2 * cell], queues[2 * cell + 1])

        engine = RemoteEngine(self._host, number, told["facts"], encoder, queue)
        self._models[number] = LoadedModel(
            ModelKey(*told["key"]), engine, Path(told["snapshot"]), told["size_bytes"], number=number
        )
        if self._told:
            self.follow(self._told)

    def follow(self, told: dict[str, Any]) -> None:
        """The host's state, taken over in one step: a request sees the old one or the new one."""
        self._told = told
        slots: dict[SlotKey, Slot] = {}
        for line in told["slots"]:
            key = SlotKey(line["team"], line["model_id"], line["channel"])
            slot = self._slots.get(key) or Slot(_served(line))
            slot.served, slot.current = _served(line), self._models.get(line["current"])
            slot.state, slot.error = line["state"], line["error"]
            slot.since = datetime.fromisoformat(line["since"])
            slots[key] = slot
        self._slots = slots
        for number in self._models.keys() - set(told["models"]):
            model = self._models[number]
            model.retired = True
            if model.in_flight == 0:
                self.unload(model)

    def used_since(self, moment: float) -> list[SlotKey]:
        return [key for key, slot in self._slots.items() if slot.used_at >= moment]


def _served(line: dict[str, Any]) -> ServedModel:
    names = ("team", "model_id", "channel", "commit_sha", "manifest_sha256", "task", "max_length")
    return ServedModel(**{name: line[name] for name in names}, files=())
