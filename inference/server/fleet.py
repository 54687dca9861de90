"""What is served right now. All state changes happen on the event loop; only loading happens elsewhere."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any

from inference.engine import EngineBusy, ModelLoadError
from inference.engine.errors import describe_error
from inference.server.errors import ArtifactError
from inference.server.loading import LoadedModel, ModelLoader
from inference.server.manifest import Manifest, ModelKey, ServedModel
from inference.server.memory import room_for, weight_of
from inference.server.settings import ServerSettings
from inference.server.slots import Slot, Slots
from inference.server.threads import in_thread

logger = logging.getLogger(__name__)

_MAX_BACKOFF_S = 60.0


async def _nobody(model: LoadedModel) -> None:
    """No one to tell."""


class Fleet(Slots):
    """Every slot of the manifest, and the loop that brings them to what the manifest asks.

    `announce` is awaited with each new model before it answers, and `told` called after each change: so the
    web workers of this server, if it has any, know a model before they need it.
    """

    def __init__(self, settings: ServerSettings, loader: ModelLoader) -> None:
        super().__init__()
        self._settings = settings
        self._loader = loader
        self._loaded: dict[ModelKey, LoadedModel] = {}
        self._wake = asyncio.Event()
        self._first_pass = False
        self.manifest: Manifest | None = None
        self.changed = asyncio.Event()
        self.announce: Callable[[LoadedModel], Awaitable[None]] = _nobody
        self.told: Callable[[], None] = lambda: None

    @property
    def generation(self) -> str | None:
        return self.manifest.generation if self.manifest else None

    @property
    def ready(self) -> bool:
        """Every slot of the first manifest has been tried, and unless there are none, one of them answers.

        A model that is added later does not take the replica out of service while it loads: all replicas
        would go at once.
        """
        if self.manifest is None or not self._first_pass:
            return False
        return not self._slots or any(
            slot.current and slot.current.engine.alive for slot in self._slots.values()
        )

    @property
    def slots(self) -> list[Slot]:
        return list(self._slots.values())

    @property
    def loaded(self) -> list[LoadedModel]:
        """The models in memory that answer, or are kept for a rollback."""
        return list(self._loaded.values())

    def ask_for(self, slot: Slot) -> None:
        slot.asked = True
        self._wake.set()

    # What the manifest changes

    def apply(self, manifest: Manifest) -> None:
        """Make the manifest the target. What is gone or blocked stops answering now; what is in memory
        swaps now; the rest keeps answering with its old revision until `run` has the new one."""
        self.manifest = manifest
        wanted = {
            served.slot: served
            for served in manifest.models
            if (served.model_id, served.commit_sha) not in manifest.blocked
        }
        for key in self._slots.keys() - wanted.keys():
            del self._slots[key]
        for key, served in wanted.items():
            slot = self._slots.get(key)
            if slot is None:
                slot = self._slots[key] = Slot(served)
            elif slot.served.key != served.key:
                slot.failures, slot.retry_at = 0, 0.0
            slot.served = served
            for name in ("current", "previous"):
                model = getattr(slot, name)
                if model and (model.key.model_id, model.key.commit_sha) in manifest.blocked:
                    setattr(slot, name, None)
            if not slot.satisfied:
                slot.become("loading")
                if held := self._loaded.get(served.key):
                    self._adopt(slot, held)
        self._retire_unused()
        self._notify()

    async def run(self) -> None:
        """Load what is wanted and not there, one at a time, for ever; a failure is tried again with growing
        pauses."""
        while True:
            self._wake.clear()
            slot = self._next()
            if slot is not None:
                await self._load(slot)
                continue
            if self.manifest is not None:
                self._first_pass = True
            self.told()
            now = time.monotonic()
            pauses = [
                s.retry_at - now for s in self._slots.values() if not s.satisfied and s.state != "waiting"
            ]
            # A model that was asked for waits for one that is in use to fall idle.
            pauses += [1.0 for s in self._slots.values() if s.asked and s.state == "waiting"]
            # asyncio.timeout, not wait_for: in 3.11 the latter loses a cancellation that arrives with the
            # wake-up, and a loop that cannot be cancelled holds up the exit for ever.
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.01, min(pauses)) if pauses else None):
                    await self._wake.wait()

    async def check(self) -> None:
        """Send the canary to every model that serves; one that fails is dropped and loaded anew."""
        for model in list(self._loaded.values()):
            try:
                await in_thread(model.engine.check)
            except EngineBusy:
                continue  # It answers so many others that the canary waited too long: busy is not ill.
            except Exception as exc:
                if model.retired:
                    continue
                logger.error("canary_failed", extra={**_name(model.key), "error": describe_error(exc)})
                self._lose(model)

    def statuses(self) -> list[dict[str, Any]]:
        """For the report, one line for each slot: the revision it should serve, whether it does, and which
        one answers in fact (`serving_commit_sha`; an older one while the new one loads or fails)."""
        return [
            {
                **key._asdict(),
                "commit_sha": slot.served.commit_sha,
                "state": slot.state,
                "error": slot.error,
                "since": slot.since.isoformat(),
                "serving_commit_sha": slot.current.key.commit_sha if slot.current else None,
            }
            for key, slot in sorted(self._slots.items())
        ]

    async def close(self) -> None:
        """Stop every engine, after answering what it holds."""
        self._slots.clear()
        models, self._loaded = list(self._loaded.values()), {}
        for model in models:
            model.retired = True
            await in_thread(partial(self._loader.unload, model))

    # Inside

    def _next(self) -> Slot | None:
        now = time.monotonic()
        due = [slot for slot in self._slots.values() if not slot.satisfied and slot.retry_at <= now]
        # A slot that answers nothing comes before one that still has its old revision.
        due.sort(key=lambda s: (not self._protected(s), not s.asked, s.current is not None, s.failures))
        for slot in due:
            if self._has_room(slot):
                return slot
        return None

    def _protected(self, slot: Slot) -> bool:
        return slot.served.channel in self._settings.protected_channels

    def _has_room(self, slot: Slot) -> bool:
        """Whether the slot's model fits into the memory budget, after unloading what may go for it.

        A protected channel is never unloaded; any other is when it has not been used for longest and this slot
        is protected or was asked for. A slot without room waits.
        """
        budget = self._settings.memory_budget_mb * 1_000_000
        if not budget or slot.served.key in self._loaded:
            return True
        drops = room_for(slot, budget, self._slots.values(), self._protected)
        if drops is None and self._protected(slot):
            need = weight_of(slot.served) // 1_000_000
            slot.failures, slot.retry_at = slot.failures + 1, time.monotonic() + _MAX_BACKOFF_S
            slot.become(
                "failed",
                f"memory_budget: It needs {need} MB and protected channels fill the rest of the budget.",
            )
            return False
        if drops is None or (drops and not (self._protected(slot) or slot.asked)):
            if slot.current is None:
                slot.become("waiting")
            return False
        for hold in drops:
            logger.info("model_evicted", extra={**_name(hold.model.key), **_where(hold.slot.served)})
            hold.drop()
            if hold.part == "current":
                hold.slot.asked = False
                hold.slot.become("waiting")
        self._retire_unused()
        return True

    async def _load(self, slot: Slot) -> None:
        served = slot.served
        if not slot.failures:
            # A repeated try stays "failed" with its reason until it succeeds: a state that flickers tells
            # nobody why.
            slot.become("loading")
            self._notify()
        logger.info(
            "model_loading", extra={**_name(served.key), "team": served.team, "channel": served.channel}
        )
        started = time.monotonic()
        task = in_thread(partial(self._loader.load, served))
        try:
            async with asyncio.timeout(self._settings.load_timeout_s):
                model = await asyncio.shield(task)
        except Exception as exc:
            # A load that hangs cannot be killed; should it finish after all, its result is thrown away.
            task.add_done_callback(self._discard_late)
            self._failed(served, exc)
            return
        except asyncio.CancelledError:
            task.add_done_callback(self._discard_late)
            raise
        logger.info(
            "model_ready", extra={**_name(served.key), "load_s": round(time.monotonic() - started, 3)}
        )
        try:
            await self.announce(model)
        except BaseException:
            self._discard(model)
            raise
        self._loaded[served.key] = model
        for other in self._slots.values():
            if other.served.key == served.key and not other.satisfied:
                self._adopt(other, model)
        # The manifest may have moved on during the load; then nobody wants it.
        self._retire_unused()
        self._notify()

    def _adopt(self, slot: Slot, model: LoadedModel) -> None:
        """The swap: one assignment on the event loop, so a request sees the old model or the new one."""
        old = slot.current
        slot.current = model
        if old is not None and old is not model:
            slot.previous = old if old.size_bytes <= self._settings.keep_loaded_mb * 1_000_000 else None
        elif slot.previous is model:
            slot.previous = None
        slot.failures, slot.retry_at, slot.asked = 0, 0.0, False
        slot.become("ready")
        logger.info(
            "model_serving",
            extra={**_name(model.key), "team": slot.served.team, "channel": slot.served.channel},
        )

    def _failed(self, served: ServedModel, exc: Exception) -> None:
        sentence = _sentence(exc, self._settings.load_timeout_s)
        logger.error(
            "model_load_failed",
            extra={
                **_name(served.key),
                "code": getattr(exc, "code", "unexpected"),
                "reason": sentence,
                "error": describe_error(exc),
            },
        )
        for slot in self._slots.values():
            if slot.served.key == served.key and not slot.satisfied:
                slot.failures += 1
                pause = min(_MAX_BACKOFF_S, self._settings.manifest_poll_s * 2 ** min(slot.failures - 1, 10))
                slot.retry_at = time.monotonic() + pause
                slot.become("failed", sentence)
        self._notify()

    def _lose(self, model: LoadedModel) -> None:
        for slot in self._slots.values():
            if slot.previous is model:
                slot.previous = None
            if slot.current is model:
                slot.current = None
                slot.become("failed", "The model stopped answering as it should; it is being loaded again.")
        self._retire_unused()
        self._notify()

    def _retire_unused(self) -> None:
        used = {m for slot in self._slots.values() for m in (slot.current, slot.previous) if m is not None}
        for key, model in list(self._loaded.items()):
            if model not in used:
                del self._loaded[key]
                model.retired = True
                if model.in_flight == 0:
                    self.unload(model)

    def unload(self, model: LoadedModel) -> None:
        logger.info("model_unloading", extra=_name(model.key))
        in_thread(partial(self._loader.unload, model)).add_done_callback(_log_failure)

    def _discard_late(self, task: asyncio.Future[LoadedModel]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._discard(task.result())

    def _discard(self, model: LoadedModel) -> None:
        model.retired = True
        if model.in_flight == 0:
            self.unload(model)

    def _notify(self) -> None:
        self._wake.set()
        self.changed.set()
        self.told()


def _log_failure(task: asyncio.Future[None]) -> None:
    if not task.cancelled() and (exc := task.exception()) is not None:
        logger.error("model_unload_failed", extra={"error": describe_error(exc)})


def _sentence(exc: Exception, timeout_s: float) -> str:
    if isinstance(exc, ModelLoadError | ArtifactError):
        return f"{exc.code}: {exc}"[:500]
    if isinstance(exc, TimeoutError):
        return f"load_timeout: Loading took longer than {timeout_s:g} s."
    return f"unexpected: Loading failed ({type(exc).__name__})."


def _name(key: ModelKey) -> dict[str, str]:
    return {"model_id": key.model_id, "commit_sha": key.commit_sha}


def _where(served: ServedModel) -> dict[str, str]:
    return {"team": served.team, "channel": served.channel}
