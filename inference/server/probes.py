"""/healthz, /readyz, /limits, /metrics"""

from __future__ import annotations

from dataclasses import asdict

from inference.server.http import Request, Response, json_response
from inference.server.metrics import PROMETHEUS, render
from inference.server.state import ServerState


async def healthz(request: Request) -> Response:
    """The process lives. Touches no model: a slow model must not get the process killed."""
    return json_response({"status": "alive"})


async def readyz(request: Request) -> Response:
    """200 when this replica should get traffic, else 503 with the reason."""
    state: ServerState = request.state
    slots = state.slots
    reason = None
    if state.draining:
        reason = "draining"
    elif slots.generation is None:
        reason = "no_manifest"
    elif not slots.ready:
        reason = "no_model_ready" if slots.counts()["failed"] else "loading"
    return json_response(
        {
            "ready": reason is None,
            "reason": reason,
            "generation": slots.generation,
            # Counts, not names: this answer needs no token.
            "models": slots.counts(),
        },
        status=200 if reason is None else 503,
    )


async def limits(request: Request) -> Response:
    state: ServerState = request.state
    return json_response(asdict(state.settings.limits))


async def metrics(request: Request) -> Response:
    """The replica's figures for Prometheus. No model is named: this answer needs no token."""
    state: ServerState = request.state
    if state.all_figures is not None:
        return Response(await state.all_figures(""), kind=PROMETHEUS)
    state.metrics.in_flight = state.places.ours
    state.metrics.models = state.slots.counts()
    return Response(render(state.metrics), kind=PROMETHEUS)
