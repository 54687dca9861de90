"""“Ready for production?”: the rules of the revision's page, each with its evidence, or with what is missing and who helps."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse

from registry.actors import Actor
from registry.enums import EvidenceKind
from registry.exceptions import DomainError
from registry.models import Revision
from registry.words import gettext
from reviews.models import ReviewRequest, Waiver
from reviews.policies.facts import Subject
from reviews.policies.gate import MET, Judge, Outcome, in_words, judge_for
from reviews.services.policies import check_waive


@dataclass(frozen=True)
class Line:
    """`ok`: True met or waived, False it blocks, None a warning, a dry run or not known yet."""

    title: str
    ok: bool | None
    words: str
    who: str = ""
    url: str = ""
    help: str = ""
    note: str = ""
    waiver: Waiver | None = None
    waive_url: str = ""


def panel_lines(actor: Actor, revision: Revision, request: ReviewRequest | None) -> tuple[list[Line], str]:
    """(lines, "7 of 10 met"): the panel's rules always, any other rule when it is violated or waived.

    A dry run is shown and not counted: who reads that something is not met would look for it among what blocks.
    """
    subject = Subject(revision, request, as_environment="production")
    judge = judge_for(revision.model.team_id, [subject], dry_run=True)
    may = _may_waive(actor, revision)
    found = [o for o in judge.outcomes(subject) if (o.rule.panel and not o.dry_run) or o.state != MET]
    found.sort(key=lambda o: not o.rule.panel or o.dry_run)
    lines = [_line(judge, outcome, subject, may=may) for outcome in found]
    counted = [line for line, outcome in zip(lines, found, strict=True) if not outcome.dry_run]
    return lines, gettext(
        "%(met)s of %(total)s met", met=sum(line.ok is True for line in counted), total=len(counted)
    )


def _may_waive(actor: Actor, revision: Revision) -> bool:
    try:
        check_waive(actor, revision)
    except DomainError:
        return False
    return True


def _line(judge: Judge, outcome: Outcome, subject: Subject, *, may: bool) -> Line:
    rule, revision = outcome.rule, subject.revision
    met = outcome.state == MET or outcome.waiver is not None
    ok = True if met else False if outcome.blocks else None
    offer = may and rule.waivable and rule.effect != "info" and not met
    note = (
        gettext(
            "Dry run of %(policy)s version %(number)s: it blocks nothing yet.",
            policy=outcome.policy,
            number=outcome.number,
        )
        if outcome.dry_run
        else ""
    )
    return Line(
        title=in_words(rule.title),
        ok=ok,
        words=outcome.sentence,
        who="" if ok else in_words(rule.who),
        url=_evidence(judge, rule.evidence, subject),
        help="" if ok else in_words(rule.help),
        note=note,
        waiver=outcome.waiver,
        waive_url=f"{reverse('waiver_new', args=[revision.pk])}?rule={outcome.key}" if offer else "",
    )


def _evidence(judge: Judge, kind: str, subject: Subject) -> str:
    if kind == "review":
        return reverse("review_detail", args=[subject.request.pk]) if subject.request else ""
    if kind == "code":
        has_code = subject.revision.remote_code_sha256 is not None
        return reverse("revision_code", args=[subject.revision.pk]) if has_code else ""
    row = judge.gathered.evidence.get((subject.revision.pk, EvidenceKind(kind))) if kind else None
    return reverse("run_detail", args=[row.job_id]) if row else ""
