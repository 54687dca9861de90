"""What every page's frame shows: the person, the team, the teams to switch to, and whether something is wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from registry.actors import Actor
from registry.context import request_id
from registry.enums import JobState, Role
from registry.models import Job, ServedReplica, Team
from registry.permissions import Action, can
from registry.words import gettext

SILENT = timedelta(minutes=2)


def frame(request: HttpRequest) -> dict[str, Any]:
    """Two small queries a page, none for strangers."""
    actor = getattr(request, "actor", None)
    found: dict[str, Any] = {"request_id": request_id(), "search_query": request.GET.get("q", "")[:200]}
    if not isinstance(actor, Actor) or actor.team is None:
        return found
    return {
        **found,
        "team": actor.team,
        "teams": getattr(request, "teams", []),
        "roles": [role.label.lower() for role in Role if role in actor.roles],
        "strip": _warnings(actor.team),
        "can_submit": can(actor, Action.SUBMIT_MODEL),
    }


def _warnings(team: Team) -> list[dict[str, str]]:
    now = timezone.now()
    found = []
    waiting = (
        Job.objects.filter(team=team, state=JobState.QUEUED, created_at__lt=now - SILENT)
        .order_by("created_at")
        .first()
    )
    if waiting:
        minutes = int((now - waiting.created_at).total_seconds() // 60)
        found.append(
            {
                "sentence": gettext("No worker has taken a run for %(minutes)s minutes.", minutes=minutes),
                "url": reverse("run_detail", args=[waiting.pk]),
                "link": gettext("See the run that waits"),
            }
        )
    failed = ServedReplica.objects.filter(
        model__team=team, state="failed", reported_at__gt=now - SILENT
    ).first()
    if failed:
        found.append(
            {
                "sentence": gettext("An inference server cannot load %(sha)s.", sha=failed.commit_sha[:7]),
                "url": reverse("channel_list"),
            }
        )
    return found
