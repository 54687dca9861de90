"""The state machine of review requests and its one door."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from registry import audit
from registry.actors import Actor
from registry.machines import Machine
from reviews.enums import OPEN_STATUSES
from reviews.enums import ReviewStatus as S
from reviews.models import ReviewRequest

REVIEW = Machine(
    name="review",
    states=(
        S.DRAFT, S.SUBMITTED, S.CHECKS_RUNNING, S.IN_REVIEW, S.CHANGES_REQUESTED,
        S.APPROVED, S.REJECTED, S.WITHDRAWN, S.SUPERSEDED,
    ),
    moves={
        (S.DRAFT, "submit"): S.SUBMITTED,
        (S.SUBMITTED, "start_checks"): S.CHECKS_RUNNING,
        (S.SUBMITTED, "fail_checks"): S.CHANGES_REQUESTED,
        (S.CHECKS_RUNNING, "pass_checks"): S.IN_REVIEW,
        (S.CHECKS_RUNNING, "fail_checks"): S.CHANGES_REQUESTED,
        (S.IN_REVIEW, "request_changes"): S.CHANGES_REQUESTED,
        (S.CHANGES_REQUESTED, "submit"): S.SUBMITTED,
        (S.IN_REVIEW, "approve"): S.APPROVED,
        (S.IN_REVIEW, "reject"): S.REJECTED,
        **{(state, "withdraw"): S.WITHDRAWN for state in OPEN_STATUSES},
        **{(state, "supersede"): S.SUPERSEDED for state in OPEN_STATUSES if state != S.DRAFT},
    },
)  # fmt: skip

VERBS: dict[str, str] = {
    "submit": "review.submitted",
    "start_checks": "review.checks_started",
    "pass_checks": "review.in_review",
    "fail_checks": "review.checks_failed",
    "request_changes": "review.changes_requested",
    "approve": "review.approved",
    "reject": "review.rejected",
    "withdraw": "review.withdrawn",
    "supersede": "review.superseded",
}


def lock(pk: int) -> ReviewRequest:
    """The request's row, locked for this transaction (of itself only: its relations may be null)."""
    return (
        ReviewRequest.objects.select_for_update(of=("self",))
        .select_related("model", "team", "revision__model", "submitted_by")
        .get(pk=pk)
    )


@transaction.atomic
def move(
    request: ReviewRequest,
    action: str,
    *,
    actor: Actor | None,
    verb: str = "",
    data: dict[str, Any] | None = None,
    **fields: Any,
) -> ReviewRequest:
    """The one door. `request` must come from `lock` in this transaction; `fields` are written with the state.

    Raises Conflict when the table has no such move.
    """
    request.status = REVIEW.target(request.status, action)
    request.status_at, request.status_by = timezone.now(), actor.user if actor else None
    for name, value in fields.items():
        setattr(request, name, value)
    request.save()
    sha = request.revision.commit_sha if request.revision else ""
    audit.record(
        actor=actor,
        team=request.team,
        verb=verb or VERBS[action],
        subject=request,
        **{
            "model_id": request.model.model_id,
            "requested_revision": request.requested_revision,
            "sha": sha,
            "round": request.round,
            "to": str(request.status),
            **(data or {}),
        },
    )
    return request
