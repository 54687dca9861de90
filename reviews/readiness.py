"""“Ready for production?”: the seed's minimum, line by line, each with its evidence or with what is missing and who helps."""

from __future__ import annotations

from dataclasses import dataclass

from django.urls import reverse

from registry.enums import ApprovalStatus, CodeAudit, EvidenceKind
from registry.models import Approval, Evidence, Revision
from reviews.enums import ReviewStatus, Verdict
from reviews.models import Answer, ReviewRequest

TOLERATED_LOSS = 0.02  # accuracy points that count as noise of a golden set of some hundred examples


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
    incumbent: Evidence | None = None,
) -> list[Line]:
    """`request` is the newest review of the revision, `evidence` the newest by kind, `other_approvals` those of the model's
    other revisions, `incumbent` the evaluation of what production serves."""
    return [
        _card(request, answers),
        _licence(revision, answers),
        Line("Revision pinned", True, f"Commit {revision.short_sha} with the digest of every file."),
        _loads(evidence),
        _benchmark(evidence.get(EvidenceKind.BENCHMARK)),
        _golden(evidence.get(EvidenceKind.EVALUATION), incumbent),
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


def _benchmark(row: Evidence | None) -> Line:
    title = "Benchmark on named hardware"
    if row is None:
        return Line(title, False, "No run on this revision yet.", "a submitter or reviewer, on this page")
    return Line(title, True, f"{row.summary[:1].upper()}{row.summary[1:]}.", url=_run(row))


def _golden(row: Evidence | None, incumbent: Evidence | None) -> Line:
    """Met when it was run and is not clearly worse than what production serves, on the same golden set."""
    title = "Golden set"
    if row is None:
        return Line(
            title, False, "No golden set has been run on it yet.", "a submitter or reviewer, on this page"
        )
    words = f"{row.summary[:1].upper()}{row.summary[1:]}."
    if incumbent is None or incumbent.data["golden_set"]["sha256"] != row.data["golden_set"]["sha256"]:
        return Line(title, True, words, url=_run(row))
    before = incumbent.data["accuracy"]
    if row.data["accuracy"] < before - TOLERATED_LOSS:
        worse = f"{words} That is worse than what production serves ({before:.3f})."
        return Line(title, False, worse, "the author of the model", _run(row))
    return Line(title, True, f"{words} Production serves {before:.3f}.", url=_run(row))


def _run(row: Evidence) -> str:
    return reverse("run_detail", args=[row.job_id])


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
