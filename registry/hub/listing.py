"""What the Hub says around a commit: the history of its default branch, and what its own scanners found."""

from __future__ import annotations

from django.conf import settings

from registry.exceptions import HubError, HubNotFound
from registry.hub.client import ask_json

COMMITS_READ = 2000  # of the default branch's history, to find out whether a commit belongs to it
SCANNED_PATHS = 500


def on_default_branch(model_id: str, commit_sha: str) -> bool | None:
    """Whether a commit belongs to the history of `main`; None when its first COMMITS_READ commits do not tell.

    A commit of a pull request lives in the same repository under the same trusted name, pushed by anybody.
    Raises HubUnreachable, HubError.
    """
    url: str | None = f"{settings.HUB_ENDPOINT}/api/models/{model_id}/commits/main"
    read = 0
    while url and read < COMMITS_READ:
        try:
            rows, url = ask_json("GET", url, model_id)
        except HubNotFound:
            return None  # no branch of this name
        if not isinstance(rows, list) or not rows:
            break
        if any(isinstance(row, dict) and row.get("id") == commit_sha for row in rows):
            return True
        read += len(rows)
    return None if url else False


def tree_of(model_id: str, commit_sha: str) -> dict[str, tuple[int, str]]:
    """path -> (size, LFS sha256 or git id) of a commit by the Hub's other list, page after page.

    Stops after one file more than an intake takes. Raises HubError and its kinds.
    """
    url: str | None = (
        f"{settings.HUB_ENDPOINT}/api/models/{model_id}/tree/{commit_sha}?recursive=true&expand=false"
    )
    found: dict[str, tuple[int, str]] = {}
    while url and len(found) <= settings.MAX_FILES:
        rows, url = ask_json("GET", url, model_id)
        if not isinstance(rows, list):
            raise HubError(f"The Hub's list of the files of {model_id} is not a list.", code="bad_answer")
        before = len(found)
        for row in rows:
            if not isinstance(row, dict) or row.get("type") == "directory":
                continue
            lfs = row.get("lfs")
            digest = lfs.get("oid") if isinstance(lfs, dict) else row.get("oid")
            size = row.get("size")
            found[str(row.get("path"))] = (size if isinstance(size, int) else -1, str(digest or ""))
        if url and not rows and before == len(found):
            raise HubError(f"The Hub's list of the files of {model_id} does not end.", code="endless_answer")
    return found


def scan_status(model_id: str, commit_sha: str, paths: list[str]) -> dict[str, str]:
    """path -> what the Hub's own scanners say of it (safe, unsafe, suspicious, queued, unscanned, error ...).

    A path without an answer is left out: it is not safe, it is unknown. Raises HubError and its kinds.
    """
    url = f"{settings.HUB_ENDPOINT}/api/models/{model_id}/paths-info/{commit_sha}"
    found = {}
    for start in range(0, min(len(paths), SCANNED_PATHS), 100):
        rows, _ = ask_json(
            "POST", url, model_id, data={"paths": paths[start : start + 100], "expand": "true"}
        )
        for row in rows if isinstance(rows, list) else []:
            status = row.get("securityFileStatus") if isinstance(row, dict) else None
            if isinstance(status, dict) and status.get("status"):
                found[str(row.get("path"))] = str(status["status"])[:40]
    return found
