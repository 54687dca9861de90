"""Deciding. 50 parallel decisions end in one: the request's row is locked and its state looked up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction
from django.utils import timezone

from registry import audit
from registry.actors import Actor
from registry.canonical import sha256_text
from registry.exceptions import Conflict, InvalidInput
from registry.models import Approval
from registry.services.approvals import grant_approval
from registry.services.channels import check_reason
from registry.words import gettext
from reviews import attestations, machines, permissions, votes
from reviews.enums import APPROVALS, Decision
from reviews.models import CommentKind, ReviewRequest, Vote
from reviews.policies import gate
from reviews.services.commenting import open_changes, write_comment
from reviews.services.digests import content_sha256 as content_sha256
from reviews.services.digests import refresh
from reviews.services.recording import apply_record, risk_named


@transaction.atomic
def decide(
    *,
    actor: Actor,
    request_pk: int,
    decision: str,
    reason: str = "",
    conditions: str = "",
    seen_sha256: str = "",
    record: Mapping[str, Any] | None = None,
) -> ReviewRequest:
    """Casts a vote; the one that completes the quorum writes the approval, and one rejection ends the request.

    1. lock the request, 2. person and state, 3. what was seen must be what is there now, 4. the record as the voter changed it
    (`conditions` and `record`), 5. to approve: readiness, 6. vote, 7. what the vote leads to, 8. audit.
    Raises NotAllowed, Conflict, InvalidInput (a rejection without a reason, a record that cannot be).
    """
    request = machines.lock(request_pk)
    permissions.check_decide(actor, request)
    if decision not in Decision.values:
        raise InvalidInput(
            gettext("A decision is one of: %(decision)s.", decision=", ".join(Decision.values)),
            code="bad_decision",
            field="decision",
        )
    if decision not in APPROVALS:
        check_reason(reason)
    _check_seen(request, seen_sha256)
    changes = dict(record or {})
    if conditions.strip():  # an empty field leaves what another voter has written
        changes["conditions"] = conditions
    if decision in APPROVALS:
        votes.check_may_approve(actor, request)
        if changes:
            apply_record(actor, request, changes)
        permissions.check_approve(actor, request, request.conditions)
        if decision == Decision.APPROVED_WITH_CONDITIONS and not request.conditions:
            raise InvalidInput(
                gettext("Write the conditions."), code="conditions_missing", field="conditions"
            )
    vote = _cast(actor, request, decision, reason)
    if decision == Decision.NEEDS_LEGAL_REVIEW:
        return _ask_legal(actor, request, vote)
    if decision == Decision.REJECTED:
        return _close(actor, request, Decision.REJECTED, vote, None)
    counted = votes.tally(request)
    if not counted.is_met:
        return _note_vote(actor, request, counted.words, vote)
    outcome = Decision.APPROVED_WITH_CONDITIONS if request.conditions else Decision.APPROVED
    return _close(actor, request, outcome, vote, _grant(actor, request))


def _check_seen(request: ReviewRequest, seen_sha256: str) -> None:
    if seen_sha256 and seen_sha256 != content_sha256(request):
        raise Conflict(
            gettext(
                "Somebody changed an answer or the decision record after you opened this page. Read it "
                "again, then decide."
            ),
            code="changed_since_seen",
        )


def _cast(actor: Actor, request: ReviewRequest, decision: str, reason: str) -> Vote:
    """Writes the vote on what is there now (evidence may have come without anybody's hand since the digest was kept)."""
    if refresh(request):
        request.save(update_fields=["content_sha256"])
    votes.check_not_repeated(actor, request, request.content_sha256)
    return Vote.objects.create(
        request=request, round=request.round, reviewer=actor.user, decision=decision, reason=reason.strip(),
        content_sha256=request.content_sha256, roles=sorted(actor.roles), at=timezone.now(),
    )  # fmt: skip


def _event(request: ReviewRequest, vote: Vote) -> dict[str, Any]:
    return {
        "model_id": request.model.model_id,
        "sha": request.revision.commit_sha if request.revision else "",
        "content_sha256": request.content_sha256,
        "vote": _named(vote),
    }


def _named(vote: Vote) -> dict[str, Any]:
    """The row as the log keeps it: the words of a vote by their digest."""
    return {
        "id": vote.pk,
        "decision": str(vote.decision),
        "round": vote.round,
        "roles": vote.roles,
        "content_sha256": vote.content_sha256,
        "reason_sha256": sha256_text(vote.reason),
    }


def _note_vote(actor: Actor, request: ReviewRequest, words: str, vote: Vote) -> ReviewRequest:
    """An approving vote that does not complete the quorum: the request stays open for the others."""
    audit.record(actor=actor, verb="review.voted", subject=request, votes=words, **_event(request, vote))
    return request


def _ask_legal(actor: Actor, request: ReviewRequest, vote: Vote) -> ReviewRequest:
    """A seat more, for legal. It belongs to what is voted on, so earlier votes are cast again when legal has looked."""
    if request.legal_asked:
        raise Conflict(gettext("A legal reviewer is asked already."), code="legal_asked")
    request.legal_asked, request.legal_reason = True, vote.reason
    votes.set_seats(request)
    refresh(request)
    request.save(update_fields=["legal_asked", "legal_reason", "tier", "votes_needed", "content_sha256"])
    audit.record(
        actor=actor, verb="review.legal_asked", subject=request, reason=vote.reason, **risk_named(request),
        **_event(request, vote),
    )  # fmt: skip
    return request


def _grant(actor: Actor, request: ReviewRequest) -> Approval:
    assert request.revision is not None and request.expires_at is not None
    return grant_approval(
        actor=actor,
        revision=request.revision,
        submitted_by=request.submitted_by,
        environment=request.environment,
        use_case=request.use_case,
        data_class=request.data_class,
        conditions=request.conditions,
        content_sha256=request.content_sha256,
        evidence_ids=[row.pk for row in permissions.evidence_of(request)],
        policy_version=gate.policies_digest(request.team_id),
        policies=gate.policies_named(request.team_id),
        waivers=gate.waivers_named(request.revision),
        expires_at=request.expires_at,
        owner=request.owner,
        terms=request.terms(),
    )


def _close(
    actor: Actor, request: ReviewRequest, outcome: str, vote: Vote, approval: Approval | None
) -> ReviewRequest:
    decided = machines.move(
        request,
        "approve" if approval else "reject",
        actor=actor,
        data={
            "reason": vote.reason,
            "content_sha256": request.content_sha256,
            "conditions": request.conditions,
            "outcome": str(outcome),
            "approval": approval.pk if approval else None,
            "vote": _named(vote),
            "votes": votes.tally(request).words,
            "policies": gate.policies_named(request.team_id),
        },
        decision=outcome,
        decision_at=timezone.now(),
        decision_by=actor.user,
        decision_reason=vote.reason,
        approval=approval,
    )
    attestations.attest(actor, decided)
    return decided


@transaction.atomic
def request_changes(
    *, actor: Actor, request_pk: int, reason: str = "", changes: Mapping[str, str] | None = None
) -> ReviewRequest:
    """Sends the request back to its submitter with a list of what is to be changed: {item: words}.

    Each becomes a thread on its item, which the submitter answers and a reviewer settles; those written before on the
    items belong to the list. `reason` may be left out when there is a list.
    """
    request = machines.lock(request_pk)
    permissions.check_decide(actor, request)
    for key, text in (changes or {}).items():
        write_comment(actor, request, text, key=key, kind=CommentKind.CHANGE)
    keys = {thread.first.key for thread in open_changes(request)}
    titles = [item["title"] for item in request.checklist if item["key"] in keys]
    listed = f"Changes asked for: {', '.join(titles)}." if titles else ""
    text = check_reason(reason if reason.strip() or not listed else listed)
    problem = text if text == listed else f"{text} {listed}".strip()
    return machines.move(
        request, "request_changes", actor=actor, problem=problem, data={"reason": text, "items": sorted(keys)}
    )
