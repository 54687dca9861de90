"""Names for revisions: channels as branches, and approved revisions as the history that consumers may use."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

from registry import consumption
from registry.enums import SERVED_STATUSES
from registry.exceptions import DomainError
from registry.gateway.door import caller, hub_view
from registry.gateway.payloads import flag, json_answer, number, when
from registry.gateway.resolving import MAIN, resolve
from registry.hub import check_model_id
from registry.models import Approval, Channel


@hub_view("get")
def refs(request: HttpRequest, org: str, name: str) -> HttpResponseBase:
    """Channels as branches, and `main`. Of the upstream's branches, tags and pull requests nothing is told."""
    actor = caller(request)
    model_id = check_model_id(f"{org}/{name}")
    branches: dict[str, str] = {}
    rows = (
        Channel.objects.filter(model__team=actor.team, model__model_id=model_id)
        .filter(current__status__in=SERVED_STATUSES, current__expires_at__gt=timezone.now())
        .select_related("current__revision")
        .defer("current__revision__card_text", "current__revision__findings")
        .order_by("name")
    )
    for channel in rows:
        if channel.current and channel.name != MAIN:
            branches[channel.name] = channel.current.revision.commit_sha
    try:
        branches = {MAIN: resolve(actor, model_id, MAIN).commit_sha, **branches}
    except DomainError:
        if not branches:
            raise
    answer: dict[str, Any] = {
        "branches": [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha} for name, sha in branches.items()
        ],
        "tags": [],
        "converts": [],
    }
    if flag(request.GET.get("include_prs")):
        answer["pullRequests"] = []
    return json_answer(answer)


COMMITS = 50  # on a page


@hub_view("get")
def commits(request: HttpRequest, org: str, name: str, revision: str) -> HttpResponseBase:
    """The revision asked for, then the model's earlier approved ones: the history that consumers may use.

    The author of each is who approved it; what the upstream authors wrote is not kept.
    """
    actor = caller(request)
    given = resolve(actor, f"{org}/{name}", revision)
    page = number(request.GET.get("p"), 0, 0, 10**6)
    earlier = (
        consumption.living(Approval.objects.filter(model=given.approval.model_id))
        .filter(approved_at__lte=given.approval.approved_at)
        .exclude(pk=given.approval.pk)
        .select_related("revision", "approved_by")
        .only(
            "environment", "conditions", "approved_at", "approved_by__username",
            "revision__commit_sha", "revision__committed_at", "revision__created_at",
        )
        .order_by("-approved_at", "-pk")
    )  # fmt: skip
    found = list(earlier[page * COMMITS : (page + 1) * COMMITS + 1])
    rows, seen = [], set()
    for approval in [*([given.approval] if page == 0 else []), *found[:COMMITS]]:
        if approval.revision.commit_sha in seen:
            continue
        seen.add(approval.revision.commit_sha)
        rows.append(_commit(approval))
    answer = json_answer(rows, given)
    if len(found) > COMMITS:
        answer["Link"] = (
            f"<{settings.PUBLIC_URL}/hub/api/models/{given.model_id}/commits/{given.commit_sha}?p={page + 1}>; "
            'rel="next"'
        )
    return answer


def _commit(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.revision.commit_sha,
        "title": f"Approved for {approval.environment}",
        "message": approval.conditions,
        "authors": [{"user": approval.approved_by.username}],
        "date": when(approval.revision.committed_at or approval.revision.created_at),
    }
