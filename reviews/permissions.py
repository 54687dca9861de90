"""May this person decide this request? The four-eyes rule and the readiness to decide, as sentences."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_noop

from registry import pins
from registry.actors import Actor
from registry.enums import OPEN_JOB_STATES, Role
from registry.exceptions import Conflict, DomainError, NotAllowed
from registry.models import Evidence, Job
from registry.permissions import Action, check
from registry.words import either, gettext, joined, lowered
from reviews import checklists, code_audits, records, votes
from reviews.enums import ReviewStatus
from reviews.machines import REVIEW
from reviews.models import Answer, ReviewRequest
from reviews.policies import gate

FOUR_EYES = gettext_noop("You submitted this model, so somebody else must approve it.")


def check_decide(actor: Actor, request: ReviewRequest) -> None:
    """Role, scope, four eyes, state, and that a vote of this person is asked for. Raises NotAllowed or Conflict."""
    if actor.user.pk == request.submitted_by_id:
        raise NotAllowed(gettext(FOUR_EYES), code="four_eyes")
    check(actor, Action.DECIDE_REVIEW)
    REVIEW.target(request.status, "approve")
    votes.check_has_seat(actor, request)


def check_answer(actor: Actor, request: ReviewRequest) -> None:
    """Who may write answers: reviewers, but not the submitter; only while the request is in review."""
    if actor.user.pk == request.submitted_by_id:
        raise NotAllowed(
            gettext("You submitted this model, so somebody else must answer its checklist."), code="four_eyes"
        )
    check(actor, Action.ANSWER_REVIEW)
    if request.status != ReviewStatus.IN_REVIEW:
        raise Conflict(gettext("Answers are written while the request is in review."), code="wrong_state")


def check_item(actor: Actor, request: ReviewRequest, item: dict[str, Any]) -> None:
    """May this person answer this item? Some are a named role's. Raises NotAllowed."""
    roles = checklists.asked_roles(item, request)
    if not roles & actor.roles:
        named = either(sorted(lowered(Role(role).label) for role in roles))
        raise NotAllowed(
            gettext(
                "%(item)s is answered by somebody with the role %(named)s.",
                item=checklists.title_of(item),
                named=named,
            ),
            code="item_role",
        )


def check_comment(actor: Actor, request: ReviewRequest) -> None:
    """Who may comment: whoever works on the review, its submitter too; only while it is open."""
    if actor.user.pk != request.submitted_by_id:
        check(actor, Action.COMMENT_REVIEW)
    if not request.is_open:
        raise Conflict(
            gettext("The review is over, so nothing can be added to its threads."), code="wrong_state"
        )


def check_settle_change(actor: Actor, request: ReviewRequest) -> None:
    """A change that was asked for is settled by a reviewer, never by the person who has to make it."""
    if actor.user.pk == request.submitted_by_id:
        raise NotAllowed(
            gettext("A reviewer asked for this change, so a reviewer settles it. Answer in the thread."),
            code="four_eyes",
        )
    check(actor, Action.DECIDE_REVIEW)


def check_withdraw(actor: Actor, request: ReviewRequest) -> None:
    if actor.user.pk != request.submitted_by_id:
        raise NotAllowed(
            gettext("Only the person who submitted a model can withdraw it."), code="not_submitter"
        )
    REVIEW.target(request.status, "withdraw")


def check_resubmit(actor: Actor, request: ReviewRequest) -> None:
    """Any submitter of the team may take up what came back; who did cannot approve it then (votes.py)."""
    check(actor, Action.SUBMIT_MODEL)
    REVIEW.target(request.status, "submit")


def missing_for_approval(
    request: ReviewRequest,
    answers: list[Answer],
    evidence: list[Evidence],
    open_jobs: int,
    conditions: str = "",
) -> list[str]:
    """What still stands between this request and an approval, each a sentence. Empty: nothing."""
    revision = request.revision
    if revision is None:
        return [gettext("The checks have not finished.")]
    missing = checklists.missing_answers(request, answers)
    told = ["review.open_items"] if missing else []
    if code := code_audits.blocking(revision):
        missing += code
        told.append("code.audit")
    missing += records.missing_terms(request)
    missing += pins.open_edges(request.team_id, revision.facts)
    if open_jobs:
        missing.append(gettext("A benchmark or an evaluation of this revision is still running."))
    doubts = checklists.doubts(request, answers)
    if doubts and not conditions.strip():
        named = ", ".join(doubts[:5]) + (
            gettext(" and %(n)s more", n=len(doubts) - 5) if len(doubts) > 5 else ""
        )
        missing.append(
            gettext("Write the conditions under which it may be used: %(named)s left doubts.", named=named)
        )
    missing += gate.violations_blocking(revision, request, conditions, told)
    return list(dict.fromkeys(missing))


def missing_for_closing(
    request: ReviewRequest, answers: list[Answer], evidence: list[Evidence], open_jobs: int
) -> list[str]:
    """What stands between this request and its decision: what an approving vote needs, and the votes themselves."""
    missing = missing_for_approval(request, answers, evidence, open_jobs, request.conditions)
    return missing + votes.missing_votes(request)


def evidence_of(request: ReviewRequest) -> list[Evidence]:
    return (
        list(Evidence.objects.filter(revision=request.revision).order_by("-created_at"))
        if request.revision
        else []
    )


def open_measurements(request: ReviewRequest) -> int:
    return Job.objects.filter(
        subject__startswith=f"revision:{request.revision_id}:",
        team_id=request.team_id,
        state__in=OPEN_JOB_STATES,
    ).count()


def check_approve(actor: Actor, request: ReviewRequest, conditions: str) -> None:
    """Everything that must be true when an approving vote is cast. Raises NotAllowed or Conflict with what is missing."""
    check_decide(actor, request)
    votes.check_may_approve(actor, request)
    missing = missing_for_approval(
        request, list(request.answers.all()), evidence_of(request), open_measurements(request), conditions
    )
    if missing:
        raise Conflict(
            joined([gettext("It cannot be approved yet."), *missing]), code="not_ready", missing=missing
        )


def reason_against(check_function: object, *args: object) -> str:
    """The sentence a `check_*` would raise, or nothing: what a disabled button shows."""
    try:
        check_function(*args)  # type: ignore[operator]
    except DomainError as refusal:
        return refusal.message
    return ""
