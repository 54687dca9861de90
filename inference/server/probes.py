"""/healthz, /readyz, /limits, /v1/models"""

from __future__ import annotations

from dataclasses import asdict

from starlette.requests import Request
from starlette.responses import Response

from inference.server.predict import caller
from inference.server.responses import json_response
from inference.server.state import ServerState


async def healthz(request: Request) -> Response:
    """The process lives. Touches no model: a slow model must not get the process killed."""
    return json_response({"status": "alive"})


async def readyz(request: Request) -> Response:
    """200 when this replica should get traffic, else 503 with the reason."""
    state: ServerState = request.app.state.server
    fleet = state.fleet
    reason = None
    if state.draining:
        reason = "draining"
    elif fleet.manifest is None:
        reason = "no_manifest"
    elif not fleet.ready:
        reason = "no_model_ready" if fleet.counts()["failed"] else "loading"
    return json_response(
        {
            "ready": reason is None,
            "reason": reason,
            "generation": fleet.manifest.generation if fleet.manifest else None,
            # Counts, not names: this answer needs no token.
            "models": fleet.counts(),
        },
        status=200 if reason is None else 503,
    )


async def limits(request: Request) -> Response:
    state: ServerState = request.app.state.server
    return json_response(asdict(state.settings.limits))


async def models(request: Request) -> Response:
    """What is served to the caller's team."""
    state: ServerState = request.app.state.server
    grant = await caller(request, state)
    lines = []
    for slot in state.fleet.team_slots(grant.team):
        current = slot.current
        lines.append(
            {
                "model_id": slot.served.model_id,
                "channel": slot.served.channel,
                "commit_sha": current.key.commit_sha if current else None,
                "wanted_commit_sha": slot.served.commit_sha,
                "state": slot.state,
                "since": slot.since.isoformat(),
                "labels": list(current.engine.labels) if current else None,
                "max_length": current.engine.max_length if current else None,
                "device": current.engine.device if current else None,
            }
        )
    return json_response({"models": lines})
