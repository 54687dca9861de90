"""What callers see of the models that are served: the slots of the manifest, and which model answers for each."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from inference.server.errors import ApiError
from inference.server.loading import LoadedModel
from inference.server.manifest import ServedModel, SlotKey

DEFAULT_CHANNEL = "production"
_SHA1 = re.compile(r"[0-9a-f]{40}")


@dataclass(eq=False)
class Slot:
    """One team's channel of one model: what it should serve, what it serves, what it served before."""

    served: ServedModel
    current: LoadedModel | None = None
    previous: LoadedModel | None = None
    state: str = "loading"
    error: str | None = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    failures: int = 0
    retry_at: float = 0.0
    asked: bool = False
    used_at: float = 0.0

    @property
    def satisfied(self) -> bool:
        return self.current is not None and self.current.key == self.served.key

    def become(self, state: str, error: str | None = None) -> None:
        if (state, error) != (self.state, self.error):
            self.state, self.error, self.since = state, error, datetime.now(UTC)


class Slots:
    """Every slot, as requests find it. Who fills them is the subclass's business: the fleet, which loads the
    models, or in a web worker the mirror of its host's fleet. Touched on the event loop only."""

    def __init__(self) -> None:
        self._slots: dict[SlotKey, Slot] = {}

    @property
    def generation(self) -> str | None:
        """The manifest's generation; None before there is one."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether this replica should get traffic."""
        raise NotImplementedError

    def ask_for(self, slot: Slot) -> None:
        """Somebody wants a model that waits for room in memory."""
        raise NotImplementedError

    def unload(self, model: LoadedModel) -> None:
        """Nothing uses the retired model any more."""
        raise NotImplementedError

    def counts(self) -> dict[str, int]:
        states = [slot.state for slot in self._slots.values()]
        return {state: states.count(state) for state in ("ready", "loading", "failed", "waiting")}

    def team_slots(self, team: str) -> list[Slot]:
        return [slot for key, slot in sorted(self._slots.items()) if key.team == team]

    @property
    def full(self) -> bool:
        """Whether there are models and none of them can take one input more."""
        found = False
        for slot in self._slots.values():
            if slot.current is not None:
                if slot.current.engine.has_room:
                    return False  # Nearly always the first: every request asks.
                found = True
        return found

    def take(self, team: str, model_id: str, selector: str) -> tuple[Slot, LoadedModel]:
        """The slot's model, kept in memory until `give_back`, also when it is replaced meanwhile.

        `selector` is a channel or a commit SHA that one of the team's channels serves. Raises ApiError 404,
        503.
        """
        slot = self._find(team, model_id, selector)
        model = slot.current
        slot.used_at = time.monotonic()
        if model is None or not model.engine.alive:
            if slot.state == "waiting":
                # Somebody wants it: it is loaded, and what nobody has used for longest makes room.
                self.ask_for(slot)
            raise _not_loaded(slot)
        model.in_flight += 1
        return slot, model

    def give_back(self, model: LoadedModel) -> None:
        """One use of the model has ended; the last one of a retired model lets it go."""
        model.in_flight -= 1
        if model.retired and model.in_flight == 0:
            self.unload(model)

    def _find(self, team: str, model_id: str, selector: str) -> Slot:
        if self.generation is None:
            raise ApiError(503, "starting", "The server has no manifest yet.", retry_after_s=2)
        if len(selector) != 40 or not _SHA1.fullmatch(selector):
            if (slot := self._slots.get(SlotKey(team, model_id, selector))) is not None:
                return slot
        else:
            slots = [slot for key, slot in self._slots.items() if key[:2] == (team, model_id)]
            # By what answers, not by what is wanted: the answer must come from exactly this revision.
            for slot in slots:
                if slot.current is not None and slot.current.key.commit_sha == selector:
                    return slot
            for slot in slots:
                if slot.served.commit_sha == selector:
                    return slot
        # One sentence for "does not exist", "other team's" and "no such channel": it tells nobody what
        # exists.
        raise ApiError(
            404,
            "not_served",
            "Your team is not served this model there; GET /v1/models lists what is served to it.",
        )


def _not_loaded(slot: Slot) -> ApiError:
    if slot.state == "failed":
        return ApiError(
            503,
            "model_unavailable",
            "The model could not be loaded; its owners can see why.",
            retry_after_s=10,
        )
    if slot.state == "waiting":
        sentence = "The model was not in memory and is being loaded now."
        return ApiError(503, "model_loading", sentence, retry_after_s=3)
    return ApiError(503, "model_loading", "The model is being loaded.", retry_after_s=2)
