"""Answering and deciding. 50 parallel decisions end in one: the request's row is locked and its state looked up."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction
from django.utils import timezone

from registry import audit
from registry.actors import Actor
from registry.canonical import sha256_json
from registry.exceptions import Conflict, InvalidInput
from registry.services.approvals import grant_approval
from registry.services.channels import check_reason
from reviews import attestations, machines, permissions
from reviews.enums import Decision, Verdict
from reviews.models import Answer, ReviewRequest, Vote
from reviews.policies import gate


def content_sha256(request: ReviewRequest) -> str:
    """Digest of what a vote is cast on: content, question and answers. Any edit gives another digest."""
    revision = request.revision
    return sha256_json(
        {
            "model_id": request.model.model_id,
            "commit_sha": revision.commit_sha if revision else "",
            "manifest_sha256": revision.manifest_sha256 if revision else "",
            "remote_code_sha256": revision.remote_code_sha256 if revision else None,
            "use_case": request.use_case,
            "environment": request.environment,
            "data_class": request.data_class,
            "checklist": [request.checklist_version, request.checklist],
            "answers": sorted([a.key, a.verdict, a.text] for a in request.answers.all()),
            "round": request.round,
        }
    )


@transaction.atomic
def save_answers(*, actor: Actor, request_pk: int, answers: Mapping[str, Mapping[str, str]]) -> list[Answer]:
    """Writes answers {key: {"verdict", "text"}}; others stay as they are.

    Raises NotAllowed, Conflict (not in review), InvalidInput (unknown item or verdict, a doubt without words).
    """
    request = machines.lock(request_pk)
    permissions.check_answer(actor, request)
    known = {item["key"]: item for item in request.checklist}
    written = []
    for key, given in answers.items():
        verdict, text = given.get("verdict", ""), given.get("text", "").strip()
        if key not in known:
            raise InvalidInput(
                f"The checklist has no item {key[:40]!r}. It has: {', '.join(known)}.", field=key
            )
        title = known[key]["title"]
        if verdict not in Verdict.values:
            raise InvalidInput(
                f"{title}: choose one of {', '.join(Verdict.values)}.", code="bad_verdict", field=key
            )
        if verdict == Verdict.CONCERN and not text:
            raise InvalidInput(f"{title}: say what the concern is.", code="concern_without_words", field=key)
        if len(text) > 4000:
            raise InvalidInput(
                f"{title}: an answer has at most 4,000 characters.", code="too_long", field=key
            )
        answer, _ = Answer.objects.update_or_create(
            request=request,
            key=key,
            defaults={"verdict": verdict, "text": text, "by": actor.user, "at": timezone.now()},
        )
        written.append(answer)
    if written:
        audit.record(
            actor=actor,
            verb="review.answered",
            subject=request,
            model_id=request.model.model_id,
            sha=request.revision.commit_sha if request.revision else "",
            items=", ".join(known[a.key]["title"].lower() for a in written),
            content_sha256=content_sha256(request),
        )
    return written


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
            policy_version=gate.policies_digest(request.team_id),
        )
        if approve
        else None
    )
    decided = machines.move(
        request,
        "approve" if approve else "reject",
        actor=actor,
        data={
            "reason": reason.strip(),
            "content_sha256": digest,
            "conditions": conditions.strip(),
            "policies": gate.policies_named(request.team_id),
        },
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
def request_changes(*, actor: Actor, request_pk: int, reason: str) -> ReviewRequest:
    """Sends the request back to its submitter with what is to be changed."""
    request = machines.lock(request_pk)
    permissions.check_decide(actor, request)
    text = check_reason(reason)
    return machines.move(request, "request_changes", actor=actor, problem=text, data={"reason": text})
