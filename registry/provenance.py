"""Where a commit comes from: its branch, its owner, and what the Hub's own scanners said on this day."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from registry import hub
from registry.exceptions import HubError
from registry.hub import HubRevision
from registry.inspecting import Content
from registry.inspection.findings import Severity

_BAD = ("unsafe", "infected", "malicious")


def trace(found: HubRevision, requested: str, content: Content) -> None:
    """Writes facts.provenance and facts.hub_scan, and what they mean, into `content`.

    Raises HubError when the Hub cannot say to which branch the commit belongs: that question decides, so the job is to
    be run again. The scan is evidence only, so its failure is written down instead.
    """
    on_main = hub.on_default_branch(found.model_id, found.commit_sha)
    content.facts["provenance"] = {
        "on_default_branch": on_main,
        "requested_revision": requested,
        "read_as": found.read_as,
        "remark": found.remark,
        "internal_id": found.internal_id,
        "author": found.author,
        "created_at": found.created_at.isoformat() if found.created_at else None,
    }
    if found.remark:
        content.say(Severity.INFO, "", found.remark, "Compare the commit with the one you meant.")
    if on_main is False:
        content.say(
            Severity.FAIL,
            "",
            "This commit is not in the history of the default branch. Anybody can push a commit into a pull request of a "
            "trusted repository; the owner may never have seen it.",
            "Submit a commit of the default branch, or ask the owner to merge this one.",
        )
    elif on_main is None:
        content.say(
            Severity.WARN,
            "",
            f"It is not known whether this commit belongs to the default branch: its last {hub.COMMITS_READ} commits do not "
            "show it.",
            "Look at the commit on the Hub.",
        )
    content.facts["hub_scan"] = _scan(found, content)


def _scan(found: HubRevision, content: Content) -> dict[str, Any]:
    now = timezone.now().isoformat()
    paths = [file.path for file in found.files]
    try:
        files = hub.scan_status(found.model_id, found.commit_sha, paths)
    except HubError as error:
        content.say(
            Severity.INFO,
            "",
            "The Hub did not tell the result of its own security scan.",
            "Not scanned is not safe.",
        )
        return {"at": now, "status": "error", "files": {}, "error": error.message}
    for path, status in sorted(files.items()):
        if status in _BAD:
            content.say(
                Severity.FAIL,
                path,
                f"The Hub's own scanners call this file {status}.",
                "Do not open it anywhere.",
            )
        elif status not in ("safe", "queued", "unscanned", "error"):
            content.say(
                Severity.WARN, path, f"The Hub's own scanners call this file {status}.", "Look into it."
            )
    unknown = [path for path in paths if files.get(path, "unscanned") in ("queued", "unscanned", "error")]
    if unknown:
        content.say(
            Severity.INFO,
            "",
            f"The Hub's own scanners have no result for {len(unknown)} of {len(paths)} files.",
            "Not scanned is not safe.",
        )
    said = set(files.values())
    if said & set(_BAD):
        status = "unsafe"
    elif unknown or not said:
        status = "not_scanned"
    else:
        status = "safe" if said == {"safe"} else "suspicious"
    return {"at": now, "status": status, "files": files}
