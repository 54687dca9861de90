"""What a team sees of reviews, and what waits for a person."""

from __future__ import annotations

from django.db.models import QuerySet

from registry.actors import Actor
from registry.enums import EvidenceKind
from registry.models import Evidence
from registry.permissions import Action, can
from reviews.enums import ReviewStatus
from reviews.models import PolicyVersion, ReviewRequest, Waiver


def requests_of(actor: Actor) -> QuerySet[ReviewRequest]:
    return ReviewRequest.objects.filter(team=actor.in_team).select_related(
        "model", "revision__model", "submitted_by", "decision_by"
    )


def waiting_for(actor: Actor) -> QuerySet[ReviewRequest]:
    """Requests in review that this person may decide: not their own."""
    rows = requests_of(actor).filter(status=ReviewStatus.IN_REVIEW).exclude(submitted_by=actor.user)
    return rows.order_by("submitted_at") if can(actor, Action.DECIDE_REVIEW) else rows.none()


def sent_back_to(actor: Actor) -> QuerySet[ReviewRequest]:
    """The person's own requests that need their hand."""
    return requests_of(actor).filter(status=ReviewStatus.CHANGES_REQUESTED, submitted_by=actor.user)


def newest_evidence(revision_ids: list[int]) -> dict[tuple[int, str], Evidence]:
    """{(revision id, kind): newest evidence}, in one query."""
    rows = Evidence.objects.filter(revision__in=revision_ids).order_by("created_at", "pk")
    return {(row.revision_id, row.kind): row for row in rows}


BENCHMARK, EVALUATION = EvidenceKind.BENCHMARK, EvidenceKind.EVALUATION


def waivers_of(actor: Actor) -> QuerySet[Waiver]:
    return Waiver.objects.filter(revision__model__team=actor.in_team).select_related(
        "revision__model", "by", "owner", "ended_by"
    )


def policy_versions_of(actor: Actor) -> QuerySet[PolicyVersion]:
    return PolicyVersion.objects.filter(policy__team=actor.in_team).select_related(
        "policy", "author", "state_by"
    )
