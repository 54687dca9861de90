"""What the page “Code audit” shows, as plain data: files with marks, the text of one, what changed, who said what."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from registry import remote_code
from registry.enums import CodeAudit, Status
from registry.exceptions import IntegrityFailure
from registry.models import Blob, Revision
from registry.words import gettext, joined
from reviews.code_audits import sources
from reviews.code_audits.states import Judged, judged_files, living_waiver
from reviews.differences import Row, difference, parts_of
from reviews.enums import FileMark
from reviews.models import CodeWaiver, FileVerdict

MARKS = {
    "open": Status(_("Not audited"), "circle-dashed", "attention"),
    FileMark.PASSED: Status(_("Passed"), "circle-check", "ok"),
    FileMark.FAILED: Status(_("Failed"), "circle-x", "bad"),
}
STATES = {
    CodeAudit.NOT_APPLICABLE: Status(_("No code"), "circle-check", "neutral"),
    CodeAudit.PENDING: Status(_("Waits for its audit"), "hourglass", "attention"),
    CodeAudit.PASSED: Status(_("Audit passed"), "circle-check", "ok"),
    CodeAudit.FAILED: Status(_("Audit failed"), "circle-x", "bad"),
    CodeAudit.WAIVED: Status(_("Audit waived"), "alert-triangle", "attention"),
}
HISTORY = 50


def file_url(revision: Revision, path: str) -> str:
    return f"{reverse('revision_code', args=[revision.pk])}?file={quote(path, safe='')}"


def context_of(revision: Revision, path: str, start: int) -> dict[str, Any]:
    """`path`: the file to show, else the first that is open; `start`: the line that the text begins with."""
    files = judged_files(revision)
    waiver = living_waiver(revision)
    state = remote_code.verdict(revision)
    current = next((f for f in files if f.file.path == path), None) or _first(files)
    index = files.index(current) if current else 0
    urls = [file_url(revision, file.file.path) for file in files]
    return {
        "revision": revision,
        "model": revision.model,
        "state": STATES[state],
        "sentence": _sentence(revision, files, waiver, state),
        "waiver": waiver,
        "files": [_line(file, url, file is current) for file, url in zip(files, urls, strict=True)],
        "current": _shown(current, revision, start) if current else None,
        "previous_url": urls[index - 1] if index > 0 else "",
        "next_url": urls[index + 1] if index + 1 < len(urls) else "",
        "history": _history(revision, files),
    }


def _first(files: list[Judged]) -> Judged | None:
    return next((file for file in files if file.mark != FileMark.PASSED), files[0] if files else None)


def next_open(revision: Revision, path: str) -> str:
    """The path that is judged next: the first open one after `path`, else before it, else `path` itself."""
    files = judged_files(revision)
    paths = [file.file.path for file in files]
    place = paths.index(path) if path in paths else 0
    return next((f.file.path for f in files[place + 1 :] + files[:place] if f.mark == "open"), path)


def _sentence(revision: Revision, files: list[Judged], waiver: CodeWaiver | None, state: CodeAudit) -> str:
    passed = sum(file.mark == FileMark.PASSED for file in files)
    count = gettext("%(passed)s of %(total)s passed", passed=passed, total=len(files))
    if state == CodeAudit.NOT_APPLICABLE:
        return gettext("The repository carries no code, so there is nothing to audit.")
    if state == CodeAudit.PASSED:
        return gettext("Every file passed. Consumers of an approved revision get the code.")
    if state == CodeAudit.FAILED:
        return gettext(
            "A file failed, so nobody gets the code and the revision cannot be approved (%(count)s).",
            count=count,
        )
    if state == CodeAudit.WAIVED and waiver:
        return gettext(
            "The audit is waived until %(until)s UTC: %(reason)s. %(owner)s answers for it (%(count)s).",
            until=f"{waiver.expires_at:%Y-%m-%d %H:%M}",
            reason=waiver.reason.rstrip("."),
            owner=waiver.owner.display_name,
            count=count,
        )
    over = gettext("The waiver has ended.") if revision.code_audit == CodeAudit.WAIVED else ""
    waits = gettext("Nobody gets the code before every file is audited (%(count)s).", count=count)
    return joined([over, waits]) if over else waits


def _line(file: Judged, url: str, is_current: bool) -> dict[str, Any]:
    return {
        "parts": parts_of(file.file.path),
        "url": url,
        "status": MARKS[file.mark],
        "is_current": is_current,
        "flags": len(file.file.flagged),
        "note": _note(file),
        "reachable": file.file.reachable,
    }


def _note(file: Judged) -> str:
    if file.mark == "open" and file.verdict:
        return gettext("audited by the submitter: somebody else must")
    if file.inherited_from:
        return gettext("unchanged since %(sha)s", sha=file.inherited_from.short_sha)
    return gettext("changed") if file.mark == "open" and file.before else ""


def _shown(judged: Judged, revision: Revision, start: int) -> dict[str, Any]:
    file = judged.file
    problem, source = "", None
    try:
        source = sources.read(file)
    except IntegrityFailure as failure:
        problem = failure.message
    rows, following = sources.window(source, file.flagged, start) if source else ([], 0)
    url = file_url(revision, file.path)
    return {
        "judged": judged,
        "file": file,
        "parts": parts_of(file.path),
        "status": MARKS[judged.mark],
        "problem": problem,
        "notes": source.notes if source else [],
        "rows": rows,
        "total": len(source.lines) if source else 0,
        "begins": max(1, start),
        "ends": following - 1 if following else len(source.lines) if source else 0,
        "more_url": f"{url}&from={following}" if following else "",
        "top_url": url if start > 1 else "",
        "flags": [
            flag | {"url": _flag_url(url, flag, rows)} for flag in file.flagged if isinstance(flag, dict)
        ],
        "changes": _changes(judged, source),
    }


def _flag_url(url: str, flag: dict[str, Any], rows: list[Row]) -> str:
    number = flag.get("line", 0)
    here = any(row.number == number for row in rows)
    return f"#L{number}" if here else f"{url}&from={max(1, int(number) - 5)}#L{number}"


def _changes(judged: Judged, source: sources.Source | None) -> dict[str, Any] | None:
    """The difference from the bytes that were judged last under this path; None when there is nothing to compare."""
    before = judged.before
    if before is None or source is None or judged.file.is_keys or source.too_large:
        return None
    size = Blob.objects.filter(pk=before.sha256).values_list("size", flat=True).first()
    if size is None:
        return None
    try:
        old = sources.of_digest(before.sha256, size)
    except IntegrityFailure:
        return None
    rows = difference(old.lines, source.lines)
    return {"before": before, "rows": rows[: sources.WINDOW_LINES], "cut": len(rows) > sources.WINDOW_LINES}


def _history(revision: Revision, files: list[Judged]) -> list[dict[str, Any]]:
    """Verdicts on these files and on earlier ones of the same paths, and the waivers, newest first."""
    digests = {file.file.sha256 for file in files}
    verdicts = FileVerdict.objects.filter(
        team=revision.model.team_id, sha256__in=digests
    ) | FileVerdict.objects.filter(
        revision__model=revision.model_id, path__in=[file.file.path for file in files]
    )
    rows: list[dict[str, Any]] = [
        {
            "at": row.at,
            "by": row.by,
            "what": row,
            "parts": parts_of(row.path),
            "status": MARKS[row.verdict],
            "reason": row.reason,
            "sha256": row.sha256,
            "where": row.revision,
            "is_of_now": row.sha256 in digests,
        }
        for row in verdicts.select_related("by", "revision__model").order_by("-pk")[:HISTORY]
    ]
    for waiver in CodeWaiver.objects.filter(revision=revision).select_related("by", "owner", "ended_by")[
        :HISTORY
    ]:
        rows.append({"at": waiver.at, "by": waiver.by, "waiver": waiver, "reason": waiver.reason})
    return sorted(rows, key=lambda row: row["at"], reverse=True)[:HISTORY]
