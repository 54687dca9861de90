"""A draft against everything that waits or is approved: what would flip, from what to what, and why. Nothing is written."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from django.urls import reverse
from django.utils import timezone

from registry.actors import Actor
from registry.enums import ApprovalStatus
from registry.models import Approval
from registry.words import gettext
from reviews.enums import ReviewStatus
from reviews.models import ReviewRequest
from reviews.policies.documents import read_policy
from reviews.policies.facts import Subject
from reviews.policies.gate import InForce, Judge, Outcome, in_words, judge_for

MAX_SUBJECTS = 500  # of each kind, newest first; the answer says when there were more
MAX_SECONDS = 15.0  # of judging; what was not reached is said, too
VERDICTS = ("ok", "info", "warn", "fail")


@dataclass(frozen=True)
class Flip:
    """One request or approval whose verdict would be another."""

    what: str  # "pending" or "approved"
    model_id: str
    sha: str
    environment: str
    before: str
    after: str
    reasons: list[str]
    url: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "what": self.what, "model_id": self.model_id, "commit_sha": self.sha, "environment": self.environment,
            "before": self.before, "after": self.after, "reasons": self.reasons,
        }  # fmt: skip


@dataclass(frozen=True)
class Simulation:
    policy: str
    looked_at: int
    left_out: int
    flips: list[Flip]

    def as_dict(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "looked_at": self.looked_at,
            "left_out": self.left_out,
            "flips": [flip.as_dict() for flip in self.flips],
        }


def subjects_of(actor: Actor) -> tuple[list[Subject], int]:
    """(pending requests and living approvals, how many more there are)."""
    pending = ReviewRequest.objects.filter(team=actor.in_team, status=ReviewStatus.IN_REVIEW)
    approved = Approval.objects.filter(
        model__team=actor.in_team,
        status__in=[ApprovalStatus.ACTIVE, ApprovalStatus.DEPRECATED, ApprovalStatus.SUSPENDED],
        expires_at__gt=timezone.now(),
    )
    rollback = "rollback_approval__revision"
    waiting = list(_lean(pending.select_related("revision__model", rollback)))
    living = list(_lean(approved.select_related("revision__model", "review_request", rollback)))
    found = [Subject(r.revision, r) for r in waiting if r.revision]
    found += [Subject(a.revision, _request_of(a), a) for a in living]
    left_out = 0
    if MAX_SUBJECTS in (len(waiting), len(living)):
        left_out = pending.count() + approved.count() - len(waiting) - len(living)
    return found, left_out


def _request_of(approval: Approval) -> ReviewRequest | None:
    request: ReviewRequest | None = getattr(approval, "review_request", None)
    if request is not None:
        request.revision, request.rollback_approval = (
            approval.revision,
            approval.rollback_approval,
        )  # read already
    return request


def _lean(rows: Any) -> Any:
    """The newest, without the texts that no fact reads: cards and configurations are the bulk of a revision."""
    unread = ("card_text", "card_data", "config")
    return rows.defer(*(f"revision__{name}" for name in unread)).order_by("-pk")[:MAX_SUBJECTS]


def simulate(*, actor: Actor, source: str) -> Simulation:
    """What would change if this text were in force now. Raises PolicyError with line and cure."""
    document = read_policy(source)
    subjects, left_out = subjects_of(actor)
    judge = judge_for(actor.in_team.pk, subjects)
    now = [p for p in judge.policies if p.document.key == document.key]
    then = [InForce(document, -1)]
    flips, ends = [], time.monotonic() + MAX_SECONDS
    for number, subject in enumerate(subjects):
        if time.monotonic() > ends:
            left_out, subjects = left_out + len(subjects) - number, subjects[:number]
            break
        if flip := _flip(judge, subject, now, then):
            flips.append(flip)
    order = {"pending": 0, "approved": 1}
    flips.sort(key=lambda f: (order[f.what], -VERDICTS.index(f.after), f.model_id))
    return Simulation(document.key, len(subjects), left_out, flips)


def _verdict(outcomes: list[Outcome]) -> str:
    return max((o.effect for o in outcomes), key=VERDICTS.index, default="ok")


def _flip(judge: Judge, subject: Subject, now: list[InForce], then: list[InForce]) -> Flip | None:
    rest = [p for p in judge.policies if p not in now]
    others = judge.outcomes(subject, rest)
    was, will = judge.outcomes(subject, now), judge.outcomes(subject, then)
    before, after = _verdict([*others, *was]), _verdict([*others, *will])
    if before == after:
        return None
    standing = {o.key: o.effect for o in was}
    coming = {o.key: o.effect for o in will}
    reasons = [
        f"{in_words(o.rule.title)}: {o.sentence}"
        for o in will
        if o.is_violation and standing.get(o.key) != o.effect
    ]
    reasons += [
        gettext("%(title)s: no longer a violation.", title=in_words(o.rule.title))
        for o in was
        if o.is_violation and coming.get(o.key, "ok") == "ok"
    ]
    revision = subject.revision
    request_page = subject.request and not subject.approval
    url = (
        reverse("review_detail", args=[subject.request.pk])
        if request_page and subject.request
        else reverse("revision_detail", args=[revision.pk])
    )
    return Flip(
        "approved" if subject.approval else "pending", revision.model.model_id, revision.commit_sha, subject.environment,
        before, after, reasons, url,
    )  # fmt: skip


def touched(actor: Actor, documents: list[InForce]) -> tuple[dict[tuple[str, int], int], int]:
    """({(policy, version): how many pending and approved revisions violate one of its rules now}, how many were not looked
    at)."""
    subjects, left_out = subjects_of(actor)
    judge = judge_for(actor.in_team.pk, subjects)
    found = {(p.document.key, p.number): set[int]() for p in documents}
    ends = time.monotonic() + MAX_SECONDS
    for number, subject in enumerate(subjects):
        if time.monotonic() > ends:
            left_out += len(subjects) - number
            break
        for outcome in judge.outcomes(subject, documents):
            if outcome.is_violation:
                found[outcome.policy, outcome.number].add(subject.revision.pk)
    return {key: len(revisions) for key, revisions in found.items()}, left_out
