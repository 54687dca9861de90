"""Deciding. 50 parallel decisions end in one: the request's row is locked and its state looked up."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.utils import timezone

from registry.actors import Actor
from registry.canonical import sha256_json
from registry.exceptions import Conflict, InvalidInput
from registry.services.approvals import grant_approval
from registry.services.channels import check_reason
from reviews import attestations, machines, permissions
from reviews.enums import Decision
from reviews.models import CommentKind, ReviewRequest, Vote
from reviews.services.commenting import open_changes, write_comment


def content_sha256(request: ReviewRequest) -> str:
    """Digest of what a vote is cast on: content, question and answers. Any edit gives another digest."""
    revision = request.revision
    return sha256_json(
        {
            "model_id": request.model.model_id,
            "commit_sha": revision.commit_sha if revision else "",
            "manifest_sha256": revision.manifest_sha256 if revision else "",
            "remote_code_sha256": revision.remote_code_sha256 if revision else None,
            "code_audit": revision.code_audit if revision else "",
            "use_case": request.use_case,
            "environment": request.environment,
            "data_class": request.data_class,
            "checklist": [request.checklist_version, request.checklist],
            "answers": sorted(
                ([a.key, a.verdict, a.value, a.text, a.suggestion_state] for a in request.answers.all()),
                key=lambda answer: str(answer[0]),
            ),
            "round": request.round,
        }
    )


@transaction.atomic
def decide(
    *,
    actor: Actor,
    request_pk: int,
    decision: str,
    reason: str = "",
    conditions: str = "",
    seen_sha256: str = "",
) -> ReviewRequest:
    """Approves or rejects.

    1. lock the request, 2. person, state and (to approve) readiness, 3. what was seen must be what is there now, 4. vote,
    5. approval, 6. state, 7. audit. Raises NotAllowed, Conflict, InvalidInput (a rejection without a reason).
    """
    request = machines.lock(request_pk)
    if decision not in Decision.values:
        raise InvalidInput(
            f"A decision is one of: {', '.join(Decision.values)}.", code="bad_decision", field="decision"
        )
    approve = decision == Decision.APPROVED
    if approve:
        permissions.check_approve(actor, request, conditions)
    else:
        permissions.check_decide(actor, request)
        check_reason(reason)
    digest = content_sha256(request)
    if seen_sha256 and seen_sha256 != digest:
        raise Conflict(
            "Somebody changed an answer after you opened this page. Read it again, then decide.",
            code="changed_since_seen",
        )
    now = timezone.now()
    Vote.objects.create(
        request=request, round=request.round, reviewer=actor.user, decision=decision, content_sha256=digest,
        reason=reason.strip(), at=now,
    )  # fmt: skip
    assert request.revision is not None
    approval = (
        grant_approval(
            actor=actor,
            revision=request.revision,
            submitted_by=request.submitted_by,
            environment=request.environment,
            use_case=request.use_case,
            data_class=request.data_class,
            conditions=conditions.strip(),
            content_sha256=digest,
            evidence_ids=[row.pk for row in permissions.evidence_of(request)],
            policy_version=request.checklist_version,
        )
        if approve
        else None
    )
    decided = machines.move(
        request,
        "approve" if approve else "reject",
        actor=actor,
        data={"reason": reason.strip(), "content_sha256": digest, "conditions": conditions.strip()},
        decision=decision,
        decision_at=now,
        decision_by=actor.user,
        decision_reason=reason.strip(),
        conditions=conditions.strip(),
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
