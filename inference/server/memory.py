"""Which models leave the memory when another needs room.

Never a protected channel's; first those kept only for a rollback, then what has not been used for longest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from inference.server.artifacts import loadable_files
from inference.server.manifest import ServedModel

if TYPE_CHECKING:
    from inference.server.loading import LoadedModel
    from inference.server.slots import Slot

# A model in use stays: two that are asked for in turn would else push each other out for ever.
IDLE_S = 5.0


@dataclass(frozen=True, eq=False)
class Hold:
    """One model that a slot holds: the one that answers, or the one kept for a rollback."""

    slot: Slot
    part: Literal["current", "previous"]

    @property
    def model(self) -> LoadedModel:
        model: LoadedModel = getattr(self.slot, self.part)
        return model

    def drop(self) -> None:
        setattr(self.slot, self.part, None)


def weight_of(served: ServedModel) -> int:
    """Bytes of the files that are loaded: what the model takes in memory, but for its activations."""
    return sum(entry.size for entry in loadable_files(served.files))


def room_for(
    wanting: Slot, budget: int, slots: Collection[Slot], protected: Callable[[Slot], bool]
) -> list[Hold] | None:
    """What must be dropped so that the slot's new model fits into `budget` bytes; None when that is not
    enough.

    The revision that it replaces does not count: for the moment of the swap both are there.
    """
    holds = [Hold(s, part) for s in slots for part in _PARTS if getattr(s, part) is not None]
    holds = [hold for hold in holds if not (hold.slot is wanting and hold.part == "current")]
    now = time.monotonic()
    may_go = [
        hold
        for hold in holds
        if hold.part == "previous" or not (protected(hold.slot) or now - hold.slot.used_at < IDLE_S)
    ]
    may_go.sort(key=lambda hold: (hold.part == "current", hold.slot.used_at))
    need, dropped = weight_of(wanting.served), 0
    while _bytes(holds, may_go[:dropped]) + need > budget:
        if dropped == len(may_go):
            return None
        dropped += 1
    return may_go[:dropped]


_PARTS: tuple[Literal["current", "previous"], ...] = ("current", "previous")


def _bytes(holds: Sequence[Hold], without: Sequence[Hold]) -> int:
    """Each model once, however many slots hold it."""
    return sum(model.size_bytes for model in {hold.model for hold in holds if hold not in without})
