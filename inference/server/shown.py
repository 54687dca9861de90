"""How a slot is told to a caller who may use it."""

from __future__ import annotations

from typing import Any

from inference.server.slots import Slot


def shown_model(slot: Slot) -> dict[str, Any]:
    """The slot's revision, state and contract; the parts that only a loaded model knows are null until then."""
    current = slot.current
    engine = current.engine if current else None
    return {
        "model_id": slot.served.model_id,
        "channel": slot.served.channel,
        "commit_sha": current.key.commit_sha if current else None,
        "wanted_commit_sha": slot.served.commit_sha,
        "state": slot.state,
        "since": slot.since.isoformat(),
        "task": slot.served.task,
        "labels": list(engine.labels) if engine else None,
        "max_length": engine.max_length if engine else None,
        "device": engine.device if engine else None,
        "variant": str(engine.variant) if engine else None,
    }
