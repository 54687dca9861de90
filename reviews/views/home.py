"""Home (what waits for me, what is live), and search."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from registry import audit, queries
from registry.access import MEMBER, access, actor_of
from registry.actors import Actor
from registry.enums import Role
from registry.models import Approval, Channel, Membership
from registry.services.reminders import ending_soon
from registry.views.channels import channel_rows, with_replicas
from registry.words import gettext, joined
from reviews.queries import (
    BENCHMARK,
    audits_waiting_for,
    mentions_of,
    newest_evidence,
    requests_of,
    sent_back_to,
    waiting_for,
)

SHOWN = 20


def _waiting(actor: Actor) -> list[dict[str, Any]]:
    found = [
        {
            "title": gettext(
                "%(what)s for %(environment)s",
                what=request.model.model_id,
                environment=request.environment,
            ),
            "url": reverse("review_detail", args=[request.pk]),
            "why": gettext(
                "Submitted by %(by)s; it needs a reviewer's decision.",
                by=request.submitted_by.display_name,
            ),
            "due": None,
        }
        for request in waiting_for(actor)[:SHOWN]
    ]
    found += [
        {
            "title": gettext("The code of %(revision)s", revision=revision),
            "url": reverse("revision_code", args=[revision.pk]),
            "why": gettext("It is under review, and files of its code wait for a security auditor."),
            "icon": "shield",
            "due": None,
        }
        for revision in audits_waiting_for(actor)[:SHOWN]
    ]
    return found + [
        {
            "title": gettext("%(model_id)s came back to you", model_id=request.model.model_id),
            "url": reverse("review_detail", args=[request.pk]),
            "why": request.problem,
            "icon": "alert-triangle",
            "due": None,
        }
        for request in sent_back_to(actor)[:SHOWN]
    ]


def _mentions(actor: Actor) -> list[dict[str, Any]]:
    return [
        {
            "title": gettext(
                "%(by)s asks you about %(model_id)s",
                by=comment.by.display_name,
                model_id=comment.request.model.model_id,
            ),
            "url": reverse("review_detail", args=[comment.request_id])
            + (f"#item-{comment.key}" if comment.key else ""),
            "why": comment.text[:200],
            "icon": "user",
            "due": None,
        }
        for comment in mentions_of(actor)
    ]


def _ends(row: Approval) -> str:
    day = f"{row.expires_at:%Y-%m-%d}"
    if row.review_by:
        said = gettext(
            "Its approval ends on %(day)s and is to be looked at again by %(by)s.", day=day, by=row.review_by
        )
    else:
        said = gettext("Its approval ends on %(day)s.", day=day)
    return joined([said, gettext("Submit the commit again to keep it in use.")])


def _ending(actor: Actor) -> list[dict[str, Any]]:
    """Approvals that end or are to be looked at again soon, for those who can ask for a new review or give it."""
    if not actor.has_role(Role.SUBMITTER, Role.REVIEWER, Role.RELEASE_MANAGER, Role.ADMIN):
        return []
    rows = queries.approvals_of(actor).filter(ending_soon()).order_by("expires_at")[:SHOWN]
    return [
        {
            "title": gettext("%(what)s for %(environment)s", what=row.revision, environment=row.environment),
            "url": reverse("revision_detail", args=[row.revision_id]),
            "why": _ends(row),
            "icon": "clock",
            "due": row.expires_at,
        }
        for row in rows
    ]


def _live(channels: Iterable[Channel]) -> list[dict[str, Any]]:
    """What is live, with who serves it now and how fast it was when it was measured."""
    rows = with_replicas(channel_rows(channels))
    measured = newest_evidence([row["revision"].pk for row in rows if row["revision"]])
    for row in rows:
        run = measured.get((row["revision"].pk, BENCHMARK)) if row["revision"] else None
        row["p95_ms"] = run.data.get("latency_p95_ms") if run else None
    return rows


@access(get=MEMBER)
def home(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    channels = (
        queries.channels_of(actor).filter(current__isnull=False).order_by("model__model_id", "name")[:SHOWN]
    )
    context = {
        "waiting": _mentions(actor) + _waiting(actor) + _ending(actor),
        "live": _live(channels),
        "events": audit.shown(list(queries.events_of(actor).order_by("-seq")[:SHOWN])),
        "is_new_team": not requests_of(actor).exists(),
    }
    return render(request, "home.html", context)


@access(get=MEMBER)
def search(request: HttpRequest) -> HttpResponse:
    """Model ids, the beginning of commit SHAs, and people of the team."""
    actor, text = actor_of(request), request.GET.get("q", "").strip()[:200]
    results = _found(actor, text) if text else []
    return render(request, "registry/search.html", {"query": text, "results": results})


def _found(actor: Actor, text: str) -> list[dict[str, str]]:
    found = [
        {
            "title": m.model_id,
            "url": reverse("model_detail", args=[m.pk]),
            "why": m.pipeline_tag or gettext("Model"),
            "icon": "box",
        }
        for m in queries.models_of(actor).filter(model_id__icontains=text).order_by("model_id")[:SHOWN]
    ]
    if len(text) >= 4 and all(c in "0123456789abcdef" for c in text.lower()):
        found += [
            {
                "title": str(revision),
                "url": reverse("revision_detail", args=[revision.pk]),
                "why": gettext("Revision %(sha)s", sha=revision.commit_sha),
                "icon": "tag",
            }
            for revision in queries.revisions_of(actor).filter(commit_sha__startswith=text.lower())[:SHOWN]
        ]
    members = Membership.objects.filter(
        team=actor.in_team, user__in=queries.people_named(text)
    ).select_related("user")
    people = {m.user_id: m.user for m in members}
    found += [
        {
            "title": person.display_name,
            "url": f"{reverse('audit_list')}?person={person.username}",
            "why": gettext("What this person did"),
            "icon": "user",
        }
        for person in people.values()
    ]
    return found
