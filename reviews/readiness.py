"""“Ready for production?”: the seed's minimum, line by line, each with its evidence or with what is missing and who helps."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse

from registry.enums import ApprovalStatus, CodeAudit, EvidenceKind
from registry.models import Approval, Evidence, Revision
from reviews.enums import ReviewStatus, Verdict
from reviews.models import Answer, ReviewRequest


@dataclass(frozen=True)
class Line:
    """`ok`: True met, False not met, None not known yet."""

    title: str
    ok: bool | None
    words: str
    who: str = ""
    url: str = ""


def readiness(
    revision: Revision,
    request: ReviewRequest | None,
    answers: list[Answer],
    evidence: dict[str, Evidence],
    other_approvals: list[Approval],
) -> list[Line]:
    """`request` is the newest review of the revision, `evidence` the newest by kind, `other_approvals` those of the model's
    other revisions."""
    return [
        _card(request, answers),
        _licence(revision, answers),
        Line("Revision pinned", True, f"Commit {revision.short_sha} with the digest of every file."),
        _loads(evidence),
        _measured(EvidenceKind.BENCHMARK, "Benchmark on named hardware", evidence),
        _measured(EvidenceKind.EVALUATION, "Golden set", evidence),
        _rollback(other_approvals),
        _code(revision),
    ]


def _card(request: ReviewRequest | None, answers: list[Answer]) -> Line:
    title = "Model card reviewed"
    if request is None:
        return Line(
            title, False, "Nobody has submitted this revision for review.", "a submitter of your team"
        )
    url = reverse("review_detail", args=[request.pk])
    total = len(request.checklist)
    if request.status == ReviewStatus.APPROVED and request.decision_by:
        return Line(
            title, True, f"{total} items answered, approved by {request.decision_by.display_name}.", url=url
        )
    if request.status == ReviewStatus.REJECTED:
        return Line(title, False, f"The review was refused: {request.decision_reason}", url=url)
    return Line(title, None, f"{len(answers)} of {total} items answered; not decided yet.", "a reviewer", url)


def _licence(revision: Revision, answers: list[Answer]) -> Line:
    answer = next((a for a in answers if a.key == "license"), None)
    declared = revision.license or "no licence declared"
    if answer is None:
        return Line(
            "Licence accepted", None, f"Declared: {declared}. No reviewer has judged it yet.", "a reviewer"
        )
    ok = answer.verdict == Verdict.ACCEPTABLE
    words = f"{answer.get_verdict_display()} ({declared}), says {answer.by.display_name}."
    return Line("Licence accepted", ok, words, "" if ok else "a reviewer")


def _loads(evidence: dict[str, Evidence]) -> Line:
    if evidence:
        return Line(
            "Loads in the inference wrapper",
            True,
            "Loaded from verified files, without remote code, and answered.",
        )
    return Line("Loads in the inference wrapper", None, "Not tried yet.", "whoever starts a benchmark")


def _measured(kind: EvidenceKind, title: str, evidence: dict[str, Evidence]) -> Line:
    row = evidence.get(kind)
    if row is None:
        missing = (
            "No run on this revision yet."
            if kind == EvidenceKind.BENCHMARK
            else "No golden set has been run on it yet."
        )
        return Line(title, False, missing, "a submitter or reviewer, on this page")
    return Line(
        title,
        True,
        f"{row.summary[:1].upper()}{row.summary[1:]}.",
        url=reverse("run_detail", args=[row.job_id]),
    )


def _rollback(others: list[Approval]) -> Line:
    active = [a for a in others if a.status == ApprovalStatus.ACTIVE]
    if active:
        target = active[0]
        url = reverse("revision_detail", args=[target.revision_id])
        return Line(
            "Rollback target", True, f"{target.revision.short_sha} is approved and can take over.", url=url
        )
    return Line(
        "Rollback target",
        None,
        "No other revision is approved, so there is nothing to go back to.",
        "a reviewer",
    )


def _code(revision: Revision) -> Line:
    ok = revision.code_audit in (CodeAudit.NOT_APPLICABLE, CodeAudit.PASSED, CodeAudit.WAIVED)
    return Line(
        "Code audit settled", ok, f"{revision.get_code_audit_display()}.", "" if ok else "a security auditor"
    )
