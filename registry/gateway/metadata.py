"""The JSON of `/hub/api`: what a client asks before it fetches files. From our records only, about approved revisions only.

Keys are the Hub's own. What we do not know (likes, git trees, commit titles) is left out, or is said to be ours.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import Count, Min, OuterRef, Subquery
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.utils import timezone

from registry import consumption
from registry.actors import Actor
from registry.enums import SERVED_STATUSES, ApprovalStatus
from registry.exceptions import DomainError
from registry.gateway import consumers
from registry.gateway.answers import ENTRY, Refused, guarded, notice
from registry.gateway.door import caller, hub_view, token_actor
from registry.gateway.resolving import MAIN, Given, files_of, page_of, resolve
from registry.hub import check_model_id
from registry.models import ApiToken, Approval, Channel, RegisteredModel, Revision, RevisionFile


def when(moment: datetime | None) -> str | None:
    """The one date format that the clients read."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z" if moment else None


def flag(value: str | None) -> bool:
    return (value or "").lower() in ("1", "true")


def _json(data: Any, given: Given | None = None) -> HttpResponseBase:
    answer = JsonResponse(data, safe=False)
    if given:
        answer["X-Repo-Commit"] = given.commit_sha
        notice(answer, given.notice)
    return guarded(answer)


# --- about the caller --------------------------------------------------------------------------------------------------


@hub_view("get")
def agent_harnesses(request: HttpRequest) -> HttpResponseBase:
    """The first request of every client process, sent without a token. A list here would crash the client."""
    return _json({"standardEnvVars": [], "harnesses": {}})


@hub_view("get")
def whoami(request: HttpRequest) -> HttpResponseBase:
    actor = token_actor(request)
    row = ApiToken.objects.filter(public_id=actor.token_id).only("name", "created_at").first()
    token = {
        "displayName": row.name if row else "",
        "role": "read",
        "createdAt": when(row.created_at) if row else None,
    }
    orgs = [{"type": "org", "name": actor.team.slug, "fullname": actor.team.name}] if actor.team else []
    return _json(
        {
            "type": "user",
            "id": str(actor.user.pk),
            "name": actor.user.username,
            "fullname": actor.user.display_name,
            "email": None,
            "isPro": False,
            "orgs": orgs,
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


# --- one model ---------------------------------------------------------------------------------------------------------


@hub_view("get")
def model_info(request: HttpRequest, org: str, name: str, revision: str = MAIN) -> HttpResponseBase:
    actor = caller(request)
    given = resolve(actor, f"{org}/{name}", revision)
    consumers.note(actor, given.revision.pk)
    files = files_of(given)
    info = _head(_full(given.revision), given.approval)
    info["siblings"] = [_sibling(file, blobs=flag(request.GET.get("blobs"))) for file in files]
    info["usedStorage"] = sum(file.blob.size for file in files)
    if flag(request.GET.get("securityStatus")) or "securityRepoStatus" in request.GET.getlist("expand"):
        info["securityRepoStatus"] = {"scansDone": True, "filesWithIssues": []}
    return _json(_expanded(request, info), given)


def _full(revision: Revision) -> Revision:
    """With the columns that the hot path leaves out, in one query."""
    return Revision.objects.select_related("model").defer("card_text", "findings").get(pk=revision.pk)


def _head(revision: Revision, approval: Approval) -> dict[str, Any]:
    """Everything but the files."""
    model = revision.model
    card = revision.card_data or {}
    config = revision.config if isinstance(revision.config, dict) else {}
    info: dict[str, Any] = {
        "_id": str(model.pk),
        "id": model.model_id,
        "modelId": model.model_id,
        "author": model.model_id.split("/")[0],
        "sha": revision.commit_sha,
        "createdAt": when(model.created_at),
        "lastModified": when(revision.committed_at or revision.created_at),
        "private": True,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": _tags(revision, card),
        "cardData": card,
        "config": {key: config[key] for key in ("architectures", "model_type") if key in config},
        "xetEnabled": False,
    }
    if revision.pipeline_tag:
        info["pipeline_tag"] = revision.pipeline_tag
    if revision.library_name:
        info["library_name"] = revision.library_name
    if isinstance(card.get("model-index"), list):
        info["model-index"] = card["model-index"]
    return info


def _tags(revision: Revision, card: dict[str, Any]) -> list[str]:
    def several(key: str) -> list[str]:
        value = card.get(key) or []
        return [str(item) for item in value] if isinstance(value, list) else [str(value)]

    tags = (
        [t for t in (revision.library_name, revision.pipeline_tag) if t]
        + several("tags")
        + several("language")
    )
    tags += [f"license:{licence}" for licence in several("license")]
    return list(dict.fromkeys(tags))


def _sibling(file: RevisionFile, *, blobs: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"rfilename": file.path}
    if blobs:
        row |= {"size": file.blob.size, "blobId": file.git_oid}
        if file.is_lfs:
            row["lfs"] = {"sha256": file.blob_id, "size": file.blob.size, "pointerSize": _pointer_size(file)}
    return row


def _pointer_size(file: RevisionFile) -> int:
    """Bytes of the text that git keeps in place of an LFS file."""
    head = "version https://git-lfs.github.com/spec/v1\noid sha256:\nsize \n"
    return len(head) + 64 + len(str(file.blob.size))


def _expanded(request: HttpRequest, info: dict[str, Any]) -> dict[str, Any]:
    """`?expand=a&expand=b` asks for these keys and no others."""
    wanted = request.GET.getlist("expand")
    return {key: info[key] for key in ("_id", "id", *wanted) if key in info} if wanted else info


# --- files of a model --------------------------------------------------------------------------------------------------


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
        for row in [*_folders(below, inside), *(_entry(file) for file in below)]
        if deep or "/" not in row["path"].removeprefix(inside)
    ]
    if expand:
        last = _last_commit(given)
        rows = [{**row, "lastCommit": last} for row in rows]
    return _json(rows, given)


def _entry(file: RevisionFile) -> dict[str, Any]:
    row: dict[str, Any] = {"type": "file", "oid": file.git_oid, "size": file.blob.size, "path": file.path}
    if file.is_lfs:
        # Here the sha256 is called oid, among siblings it is called sha256: the Hub's own choice.
        row["lfs"] = {"oid": file.blob_id, "size": file.blob.size, "pointerSize": _pointer_size(file)}
    return row


def _folders(files: list[RevisionFile], inside: str) -> list[dict[str, Any]]:
    """Each folder below `inside`. Its oid is a digest of what is listed in it, not git's: we do not keep git's trees."""
    held: dict[str, list[str]] = {}
    for file in files:
        parts = file.path.split("/")
        for depth in range(1, len(parts)):
            held.setdefault("/".join(parts[:depth]), []).append(f"{file.path}\0{file.blob_id}")
    return [
        {
            "type": "directory",
            "oid": hashlib.sha1("\n".join(lines).encode(), usedforsecurity=False).hexdigest(),
            "size": 0,
            "path": path,
        }
        for path, lines in sorted(held.items())
        if path.startswith(inside)
    ]


def _last_commit(given: Given) -> dict[str, Any]:
    revision = _full(given.revision)
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
    rows = [row for row in [*_folders(files, ""), *(_entry(file) for file in files)] if row["path"] in wanted]
    if expand:
        last = _last_commit(given)
        rows = [{**row, "lastCommit": last} for row in rows]
    return _json(rows, given)


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


# --- names for revisions -----------------------------------------------------------------------------------------------


@hub_view("get")
def refs(request: HttpRequest, org: str, name: str) -> HttpResponseBase:
    """Channels as branches, and `main`. Of the upstream's branches, tags and pull requests nothing is told."""
    actor = caller(request)
    model_id = check_model_id(f"{org}/{name}")
    branches: dict[str, str] = {}
    rows = (
        Channel.objects.filter(model__team=actor.team, model__model_id=model_id)
        .filter(current__status__in=SERVED_STATUSES, current__expires_at__gt=timezone.now())
        .select_related("current__revision")
        .defer("current__revision__card_text", "current__revision__findings")
        .order_by("name")
    )
    for channel in rows:
        if channel.current and channel.name != MAIN:
            branches[channel.name] = channel.current.revision.commit_sha
    try:
        branches = {MAIN: resolve(actor, model_id, MAIN).commit_sha, **branches}
    except DomainError:
        if not branches:
            raise
    answer: dict[str, Any] = {
        "branches": [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha} for name, sha in branches.items()
        ],
        "tags": [],
        "converts": [],
    }
    if flag(request.GET.get("include_prs")):
        answer["pullRequests"] = []
    return _json(answer)


COMMITS = 50  # on a page


@hub_view("get")
def commits(request: HttpRequest, org: str, name: str, revision: str) -> HttpResponseBase:
    """The revision asked for, then the model's earlier approved ones: the history that consumers may use.

    The author of each is who approved it; what the upstream authors wrote is not kept.
    """
    actor = caller(request)
    given = resolve(actor, f"{org}/{name}", revision)
    page = _number(request.GET.get("p"), 0, 0, 10**6)
    earlier = (
        consumption.living(Approval.objects.filter(model=given.approval.model_id))
        .filter(approved_at__lte=given.approval.approved_at)
        .exclude(pk=given.approval.pk)
        .select_related("revision", "approved_by")
        .only(
            "environment", "conditions", "approved_at", "approved_by__username",
            "revision__commit_sha", "revision__committed_at", "revision__created_at",
        )
        .order_by("-approved_at", "-pk")
    )  # fmt: skip
    found = list(earlier[page * COMMITS : (page + 1) * COMMITS + 1])
    rows, seen = [], set()
    for approval in [*([given.approval] if page == 0 else []), *found[:COMMITS]]:
        if approval.revision.commit_sha in seen:
            continue
        seen.add(approval.revision.commit_sha)
        rows.append(_commit(approval))
    answer = _json(rows, given)
    if len(found) > COMMITS:
        answer["Link"] = (
            f"<{settings.PUBLIC_URL}/hub/api/models/{given.model_id}/commits/{given.commit_sha}?p={page + 1}>; "
            'rel="next"'
        )
    return answer


def _commit(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.revision.commit_sha,
        "title": f"Approved for {approval.environment}",
        "message": approval.conditions,
        "authors": [{"user": approval.approved_by.username}],
        "date": when(approval.revision.committed_at or approval.revision.created_at),
    }


# --- the list ----------------------------------------------------------------------------------------------------------

PAGE = 1000
LISTED = (
    "_id",
    "id",
    "modelId",
    "likes",
    "downloads",
    "private",
    "tags",
    "createdAt",
    "pipeline_tag",
    "library_name",
)
LISTED_FULL = ("author", "sha", "lastModified", "gated", "disabled", "siblings")


@hub_view("get")
def list_models(request: HttpRequest) -> HttpResponseBase:
    """Models of the team that `main` serves. Four queries, whatever their number on the page."""
    actor, query = caller(request), request.GET
    limit, start = _number(query.get("limit"), PAGE, 1, PAGE), _number(query.get("cursor"), 0, 0, 10**9)
    wanted = {
        tag
        for part in query.getlist("filter") + query.getlist("pipeline_tag")
        for tag in part.split(",")
        if tag
    }
    infos = []
    for approval in _mains(actor, query.get("search", "").replace("\0", "")):
        info = _head(approval.revision, approval)
        if query.get("author", info["author"]) == info["author"] and wanted <= set(info["tags"]):
            info["siblings"] = []
            infos.append(info)
    order = query.get("sort", "")
    if order in ("createdAt", "lastModified"):
        infos.sort(key=lambda info: str(info[order]), reverse=query.get("direction", "-1") != "1")
    keys: tuple[str, ...] = LISTED + (LISTED_FULL if flag(query.get("full")) else ())
    keys += tuple(key for key in ("cardData", "config") if flag(query.get(key)))
    if expand := query.getlist("expand"):
        keys = ("_id", "id", *expand)
    answer = _json([{key: info[key] for key in keys if key in info} for info in infos[start : start + limit]])
    if start + limit < len(infos):
        more = query.copy()
        more["cursor"] = str(start + limit)
        answer["Link"] = f'<{settings.PUBLIC_URL}/hub/api/models?{more.urlencode()}>; rel="next"'
    return answer


def _number(text: str | None, default: int, least: int, most: int) -> int:
    return (
        min(max(int(text), least), most)
        if text and text.isascii() and text.isdigit() and len(text) < 12
        else default
    )


def _mains(actor: Actor, search: str) -> list[Approval]:
    """For each model of the team what `main` stands for, by the rules of `consumption.approved`, in three queries.

    A model may have thousands of approvals, of which one is listed at most: they are counted in the database, and only of
    models whose channel `production` does not already say which one.
    """
    models = RegisteredModel.objects.filter(team=actor.team)
    if search:
        models = models.filter(model_id__icontains=search)
    live = Channel.objects.filter(model=OuterRef("pk"), name=consumption.DEFAULT_CHANNEL).values("current")
    production: dict[int, int | None] = dict(models.annotate(live=Subquery(live)).values_list("pk", "live"))
    undecided = [model for model, current in production.items() if current is None]
    rows = consumption.living(Approval.objects.all())
    alone = (
        rows.filter(status=ApprovalStatus.ACTIVE, model__in=undecided)
        .order_by()
        .values("model")
        .annotate(several=Count("pk"), only=Min("pk"))
        .filter(several=1)
        .values_list("only", flat=True)
    )
    listed = [*(current for current in production.values() if current is not None), *alone]
    return list(
        rows.filter(pk__in=listed)
        .select_related("model", "revision__model")
        .defer("revision__card_text", "revision__findings")
        .order_by("model__model_id", "pk")
    )
