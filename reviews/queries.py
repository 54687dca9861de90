"""What a team sees of reviews, and what waits for a person."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from registry.actors import Actor
from registry.enums import CodeAudit, EvidenceKind, Role
from registry.models import Evidence, Revision
from registry.permissions import Action, can
from reviews.code_audits.states import ENDED
from reviews.enums import OPEN_STATUSES, ReviewStatus
from reviews.models import CommentKind, PolicyVersion, ReviewComment, ReviewRequest, Vote, Waiver


def requests_of(actor: Actor) -> QuerySet[ReviewRequest]:
    return ReviewRequest.objects.filter(team=actor.in_team).select_related(
        "model", "revision__model", "submitted_by", "decision_by"
    )


def waiting_for(actor: Actor) -> QuerySet[ReviewRequest]:
    """Requests in review that ask for this person's vote: not their own, with a seat for their role, not voted on as it is."""
    rows = requests_of(actor).filter(status=ReviewStatus.IN_REVIEW).exclude(submitted_by=actor.user)
    if not can(actor, Action.DECIDE_REVIEW):
        return rows.none()
    if not actor.has_role(Role.REVIEWER):
        seats = Q(legal_asked=True) if actor.has_role(Role.LEGAL) else Q()
        seats |= Q(tier="medium") if actor.has_role(Role.SECURITY_AUDITOR) else Q()
        rows = rows.filter(seats)
    voted = Vote.objects.filter(
        request=OuterRef("pk"),
        reviewer=actor.user,
        round=OuterRef("round"),
        content_sha256=OuterRef("content_sha256"),
    )
    return rows.exclude(Exists(voted)).order_by("submitted_at")


def audits_waiting_for(actor: Actor) -> QuerySet[Revision]:
    """Revisions under review whose code waits for this security auditor: not what they submitted."""
    rows = Revision.objects.filter(model__team=actor.in_team, code_audit=CodeAudit.PENDING)
    if not can(actor, Action.JUDGE_CODE):
        return rows.none()
    open_requests = ReviewRequest.objects.filter(revision=OuterRef("pk"), status__in=OPEN_STATUSES)
    own = ReviewRequest.objects.filter(revision=OuterRef("pk"), submitted_by=actor.user).exclude(
        status__in=ENDED
    )
    rows = rows.filter(Exists(open_requests)).exclude(Exists(own)).select_related("model")
    return rows.defer("card_text", "card_data", "findings", "config").order_by("created_at")


def sent_back_to(actor: Actor) -> QuerySet[ReviewRequest]:
    """The person's own requests that need their hand."""
    return requests_of(actor).filter(status=ReviewStatus.CHANGES_REQUESTED, submitted_by=actor.user)


def mentions_of(actor: Actor) -> list[ReviewComment]:
    """Comments that name this person, in threads that are open on open reviews, newest first."""
    last = ReviewComment.objects.filter(
        thread=OuterRef("root_id"), kind__in=[CommentKind.RESOLVED, CommentKind.REOPENED]
    ).order_by("-pk")
    rows = (
        ReviewComment.objects.filter(
            mentions__user=actor.user, request__team=actor.in_team, request__status__in=OPEN_STATUSES
        )
        .annotate(root_id=Coalesce("thread_id", "pk"))
        .annotate(turn=Subquery(last.values("kind")[:1]), answered=Exists(_answers_by(actor)))
        .filter(Q(turn__isnull=True) | Q(turn=CommentKind.REOPENED))
        .exclude(answered=True)
    )
    return list(rows.select_related("request__model", "by").order_by("-pk")[:20])


def _answers_by(actor: Actor) -> QuerySet[ReviewComment]:
    """Whoever has answered in the thread since is not waited for any more."""
    later = ReviewComment.objects.filter(by=actor.user, pk__gt=OuterRef("pk"))
    return later.filter(thread=OuterRef("root_id"))


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
