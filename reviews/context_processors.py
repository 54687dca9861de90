"""The number beside “Reviews” in the rail."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from registry.actors import Actor
from reviews.queries import audits_waiting_for, waiting_for


def waiting(request: HttpRequest) -> dict[str, Any]:
    actor = getattr(request, "actor", None)
    if not isinstance(actor, Actor) or actor.team is None:
        return {}
    return {"waiting_count": waiting_for(actor).count() + audits_waiting_for(actor).count()}
