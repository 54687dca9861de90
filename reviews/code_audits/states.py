"""Which verdict counts for which file of a revision, and what that makes of the revision. Reads only.

A verdict is about a digest: the newest one of the team counts wherever these bytes come back, so an unchanged file of a new
commit is not read twice and a changed one is open again.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from registry import remote_code
from registry.enums import CodeAudit
from registry.models import Revision, RevisionFile
from registry.words import gettext, ngettext
from reviews.code_audits.manifest import CodeFile, code_files
from reviews.enums import FileMark, ReviewStatus
from reviews.models import CodeWaiver, FileVerdict, ReviewRequest

ENDED = (ReviewStatus.REJECTED, ReviewStatus.WITHDRAWN, ReviewStatus.SUPERSEDED)
NAMED = 5  # files that a sentence names before it counts the rest


@dataclass(frozen=True)
class Judged:
    """A file with the verdict that counts; `before`: the newest verdict on other bytes of the same path."""

    file: CodeFile
    verdict: FileVerdict | None
    before: FileVerdict | None
    own: bool  # the verdict is the submitter's, so it counts only when it says no

    @property
    def mark(self) -> str:
        """passed, failed or open."""
        if self.verdict is None or (self.own and self.verdict.verdict == FileMark.PASSED):
            return "open"
        return str(self.verdict.verdict)

    @property
    def inherited_from(self) -> Revision | None:
        """The other revision that the verdict was given on."""
        return None if self.verdict is None or self.given_here else self.verdict.revision

    given_here: bool = False


def judged_files(revision: Revision) -> list[Judged]:
    """Every file with its verdict; three queries whatever their number."""
    files = code_files(revision)
    if not files:
        return []
    team = revision.model.team_id
    newest: dict[str, FileVerdict] = {}
    before: dict[str, FileVerdict] = {}
    digests = {file.path: file.sha256 for file in files}
    rows = FileVerdict.objects.filter(
        Q(sha256__in=digests.values()) | Q(path__in=digests, revision__model=revision.model_id), team=team
    )
    for row in rows.select_related("by", "revision__model").order_by("pk"):
        newest[row.sha256] = row
        if row.revision.model_id == revision.model_id and row.sha256 != digests.get(row.path):
            before[row.path] = row
    submitters = submitters_of(revision)
    found = []
    for file in files:
        verdict = newest.get(file.sha256)
        own = verdict is not None and verdict.by_id in submitters
        here = verdict is not None and verdict.revision_id == revision.pk
        found.append(Judged(file, verdict, before.get(file.path), own, here))
    return found


def submitters_of(revision: Revision) -> set[int]:
    """Who submitted it, in requests that are open or were approved."""
    rows = ReviewRequest.objects.filter(revision=revision).exclude(status__in=ENDED)
    return set(rows.values_list("submitted_by_id", flat=True))


def auditors_of(revision: Revision) -> set[int]:
    """Ids of who judged any of its files, here or on another revision, or waives its audit now.

    None of them may cast the vote that approves it; reviews/code_audits/rules.py says the same to the database.
    """
    if revision.remote_code_sha256 is None:
        return set()
    files = RevisionFile.objects.filter(revision=revision).values("blob_id")
    keys = [file.sha256 for file in code_files(revision) if file.is_keys]
    by_digest = Q(team=revision.model.team_id) & (Q(sha256__in=files) | Q(sha256__in=keys))
    judged = FileVerdict.objects.filter(by_digest | Q(revision=revision)).values_list("by_id", flat=True)
    waived = CodeWaiver.objects.filter(revision=revision, ended_at__isnull=True).values_list(
        "by_id", flat=True
    )
    return {*judged, *waived}


def living_waiver(revision: Revision) -> CodeWaiver | None:
    """The waiver that nobody has ended yet; its time may be over."""
    rows = CodeWaiver.objects.filter(revision=revision, ended_at__isnull=True)
    return rows.select_related("owner", "by").first()


def state_of(revision: Revision, files: list[Judged], waiver: CodeWaiver | None) -> CodeAudit:
    """What the verdicts make of the revision. `waiver` must be in force, or None.

    A submitter's own verdict does not pass a file. What has passed and is perhaps served is not taken back because its
    auditor submits it once more: `blocking` refuses that submission's approval instead.
    """
    if revision.remote_code_sha256 is None:
        return CodeAudit.NOT_APPLICABLE
    marks = {file.mark for file in files}
    if revision.code_audit == CodeAudit.PASSED:
        marks = {str(file.verdict.verdict) if file.verdict else "open" for file in files}
    if FileMark.FAILED in marks:
        return CodeAudit.FAILED
    if marks == {str(FileMark.PASSED)}:
        return CodeAudit.PASSED
    return CodeAudit.WAIVED if waiver else CodeAudit.PENDING


def blocking(revision: Revision) -> list[str]:
    """What of its code stands between a revision and an approval, as sentences that name the files. Empty: nothing."""
    if revision.remote_code_sha256 is None or remote_code.verdict(revision) == CodeAudit.WAIVED:
        return []
    files = judged_files(revision)
    sentences = [
        gettext(
            "%(path)s failed its code audit: %(reason)s.",
            path=file.file.path,
            reason=file.verdict.reason.strip().rstrip("."),
        )
        for file in files
        if file.mark == FileMark.FAILED and file.verdict
    ]
    sentences += [
        gettext(
            "%(path)s was audited by %(by)s, who submitted this model: another security auditor must "
            "judge it.",
            path=file.file.path,
            by=file.verdict.by.display_name,
        )
        for file in files
        if file.mark == "open" and file.verdict
    ]
    unread = [file.file.path for file in files if file.verdict is None]
    if unread:
        sentences.append(
            ngettext(
                "%(files)s has not been audited yet; a security auditor judges the code.",
                "%(files)s have not been audited yet; a security auditor judges the code.",
                len(unread),
                files=named(unread),
            )
        )
    if not sentences and remote_code.verdict(revision) != CodeAudit.PASSED:
        sentences.append(gettext("The code audit of this revision has not passed; open its page to see why."))
    if sentences and revision.code_audit == CodeAudit.WAIVED:
        sentences.insert(0, gettext("The waiver of its code audit has ended."))
    return sentences


def named(paths: list[str]) -> str:
    """`a.py, b.py and 3 more`."""
    shown = [path if len(path) <= 80 else f"…{path[-79:]}" for path in paths[:NAMED]]
    rest = len(paths) - len(shown)
    parts = [*shown, f"{rest} more"] if rest else shown
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]
