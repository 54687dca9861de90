"""The JSON about one model that a client asks for before it fetches files. About approved revisions only."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponseBase

from registry.gateway import consumers
from registry.gateway.answers import ENTRY, Refused
from registry.gateway.door import caller, hub_view
from registry.gateway.payloads import entry, flag, folders, full, head_of, json_answer, sibling, when
from registry.gateway.resolving import MAIN, Given, files_of, page_of, resolve


@hub_view("get")
def model_info(request: HttpRequest, org: str, name: str, revision: str = MAIN) -> HttpResponseBase:
    actor = caller(request)
    given = resolve(actor, f"{org}/{name}", revision)
    consumers.note(actor, given.revision.pk)
    files = files_of(given)
    info = head_of(full(given.revision), given.approval)
    info["siblings"] = [sibling(file, blobs=flag(request.GET.get("blobs"))) for file in files]
    info["usedStorage"] = sum(file.blob.size for file in files)
    if flag(request.GET.get("securityStatus")) or "securityRepoStatus" in request.GET.getlist("expand"):
        info["securityRepoStatus"] = {"scansDone": True, "filesWithIssues": []}
    return json_answer(_expanded(request, info), given)


def _expanded(request: HttpRequest, info: dict[str, Any]) -> dict[str, Any]:
    """`?expand=a&expand=b` asks for these keys and no others."""
    wanted = request.GET.getlist("expand")
    return {key: info[key] for key in ("_id", "id", *wanted) if key in info} if wanted else info


@hub_view("get")
def tree(request: HttpRequest, org: str, name: str, revision: str, folder: str = "") -> HttpResponseBase:
    """Files and folders below `folder`; on one page, because intake takes no more files than fit on one."""
    actor = caller(request)
    given = resolve(actor, f"{org}/{name}", revision)
    consumers.note(actor, given.revision.pk)
    files = files_of(given)
    inside = folder.strip("/") + "/" if folder.strip("/") else ""
    below = [file for file in files if file.path.startswith(inside)]
    if inside and not below:
        # Not naming what was asked for, so that every trick with a path gets the same answer.
        raise Refused(
            404,
            ENTRY,
            f"There is no such folder among the approved files of {given.model_id}@{given.commit_sha[:12]}: "
            f"{page_of(given.revision)}",
            warn=False,
            headers={"X-Repo-Commit": given.commit_sha},
        )
    expand, deep = flag(request.GET.get("expand")), flag(request.GET.get("recursive"))
    rows = [
        row
        for row in [*folders(below, inside), *(entry(file) for file in below)]
        if deep or "/" not in row["path"].removeprefix(inside)
    ]
    if expand:
        last = _last_commit(given)
        rows = [{**row, "lastCommit": last} for row in rows]
    return json_answer(rows, given)


def _last_commit(given: Given) -> dict[str, Any]:
    revision = full(given.revision)
    return {
        "id": revision.commit_sha,
        "title": "The approved revision",
        "date": when(revision.committed_at or revision.created_at),
    }


@hub_view("post")
def paths_info(request: HttpRequest, org: str, name: str, revision: str) -> HttpResponseBase:
    """A read that the clients send as a form (or JSON). Names that are no listed file are left out, as on the Hub."""
    actor = caller(request)
    given = resolve(actor, f"{org}/{name}", revision)
    wanted, expand = _asked_paths(request)
    files = files_of(given)
    rows = [row for row in [*folders(files, ""), *(entry(file) for file in files)] if row["path"] in wanted]
    if expand:
        last = _last_commit(given)
        rows = [{**row, "lastCommit": last} for row in rows]
    return json_answer(rows, given)


def _asked_paths(request: HttpRequest) -> tuple[set[str], bool]:
    if request.content_type == "application/json":
        try:
            body = json.loads(request.body or b"{}")
        except (ValueError, RecursionError):
            body = None
        paths = body.get("paths", []) if isinstance(body, dict) else None
        if not isinstance(paths, list):
            raise Refused(400, "", 'Send {"paths": ["config.json", ...]}.', warn=False)
        return {str(path).strip("/") for path in paths}, bool(body.get("expand")) if isinstance(
            body, dict
        ) else False
    paths = request.POST.getlist("paths")
    return {path.strip("/") for path in paths}, flag(request.POST.get("expand"))
