"""The JSON routes under /api: model info, trees, refs, commits, paths, search, whoami."""

from typing import Any
from urllib.parse import parse_qs, urlencode

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.sample_hub.asking import (
    commit_of,
    flag,
    hub_of,
    known_repo,
    lies_of,
    segments,
    take_revision,
    user_of,
)
from tests.sample_hub.errors import HubError
from tests.sample_hub.files import xet_hash
from tests.sample_hub.info import model_info
from tests.sample_hub.store import Entry, RevisionNotFound

EXPANDED_TREE_PAGE = 50
COMMITS_PAGE = 50
LIST_PAGE = 1000
_LIST_KEYS = ("_id", "id", "modelId", "likes", "downloads", "private", "tags", "createdAt")
_LIST_KEYS_FULL = ("author", "sha", "lastModified", "gated", "disabled", "siblings")


def agent_harnesses(request: Request) -> Response:
    # The first request of every client process. A JSON list here would crash the client.
    return JSONResponse({"standardEnvVars": [], "harnesses": {}})


def whoami(request: Request) -> Response:
    user = user_of(request)
    if user is None:
        raise HubError(401, None, "Invalid username or password.")
    token = {"displayName": "sample", "role": "read", "createdAt": "2026-09-01T08:00:00.000Z"}
    auth = {"type": "access_token", "accessToken": token}
    facts = {"type": "user", "id": "0" * 24, "name": user, "fullname": user, "email": f"{user}@hub.invalid"}
    return JSONResponse(facts | {"orgs": [], "auth": auth})


def list_models(request: Request) -> Response:
    query, store = request.query_params, hub_of(request).store
    user = user_of(request)
    found = []
    for model_id in store.model_ids():
        meta = store.meta(model_id)
        if meta.private and user is None:
            continue
        if query.get("search", "").lower() not in model_id.lower():
            continue
        if query.get("author", model_id.split("/")[0]) != model_id.split("/")[0]:
            continue
        try:
            info = model_info(store, model_id, store.resolve(model_id, "main"))
        except RevisionNotFound:
            continue
        wanted = query.getlist("filter") + query.getlist("pipeline_tag")
        if all(tag in info["tags"] for tag in wanted):
            found.append(info)
    if (order := query.get("sort")) in ("downloads", "likes", "createdAt", "lastModified"):
        found.sort(key=lambda info: info[order], reverse=query.get("direction", "-1") == "-1")
    keys: tuple[str, ...] = (*_LIST_KEYS, "pipeline_tag", "library_name")
    keys += _LIST_KEYS_FULL if flag(query.get("full")) else ()
    keys += tuple(name for name in ("cardData", "config") if flag(query.get(name)))
    if expand := query.getlist("expand"):
        keys = ("_id", "id", *expand)
    page = [{key: info[key] for key in keys if key in info} for info in found]
    return _paged(request, page, min(_number(request, "limit", LIST_PAGE), LIST_PAGE))


def model(request: Request) -> Response:
    """GET /api/models/{org}/{name}[/revision/…, /tree/…, /refs, /commits/…]."""
    parts = segments(request)[2:]
    model_id, verb, rest = "/".join(parts[:2]), "/".join(parts[2:3]), parts[3:]
    lies_of(request).before_answer(model_id, "api")
    known_repo(request, model_id)
    if not verb:
        return _info(request, model_id, "main")
    if verb == "refs" and not rest:
        return _refs(request, model_id)
    if not rest:
        raise HubError(404, None, "Not found")
    revision, path = take_revision(rest)
    if verb == "revision" and not path:
        return _info(request, model_id, revision)
    if verb == "tree":
        return _tree(request, model_id, revision, "/".join(path))
    if verb == "commits" and not path:
        return _commits(request, model_id, revision)
    # xet-read-token and whatever else the real Hub offers: not here.
    raise HubError(404, None, "Not found")


def _info(request: Request, model_id: str, revision: str) -> Response:
    query, store = request.query_params, hub_of(request).store
    sha = commit_of(request, model_id, revision)
    security = flag(query.get("securityStatus")) or "securityRepoStatus" in query.getlist("expand")
    info = model_info(store, model_id, sha, blobs=flag(query.get("blobs")), security=security)
    lies = lies_of(request)
    if lies.about(model_id):
        info["siblings"] = [row for row in info["siblings"] if row["rfilename"] not in lies.unlisted]
        info["siblings"] += [{"rfilename": name, "size": 10, "blobId": "0" * 40} for name in lies.listed]
    if expand := query.getlist("expand"):
        info = {key: info[key] for key in ("_id", "id", *expand) if key in info}
    return JSONResponse(info)


def _refs(request: Request, model_id: str) -> Response:
    store, lies = hub_of(request).store, lies_of(request)

    def listed(kind: str, ref: str) -> list[dict[str, str]]:
        refs = store.refs(model_id, kind).items()
        rows = [(name, lies.commit_for(model_id, name, sha)) for name, sha in refs]
        return [{"name": name, "ref": f"{ref}{name}", "targetCommit": sha} for name, sha in rows]

    refs = {"tags": listed("tags", "refs/tags/"), "branches": listed("heads", "refs/heads/"), "converts": []}
    if flag(request.query_params.get("include_prs")):
        refs["pullRequests"] = listed("pr", "refs/pr/")
    return JSONResponse(refs)


def _commits(request: Request, model_id: str, revision: str) -> Response:
    store = hub_of(request).store
    sha = commit_of(request, model_id, revision)
    limit, page = _number(request, "limit", COMMITS_PAGE), _number(request, "p", 0)
    total = store.count_commits(model_id, sha)
    rows = [
        {"id": c.sha, "title": c.title, "message": c.body, "authors": [{"user": c.author}], "date": c.date}
        for c in store.log(model_id, sha, skip=page * limit, limit=limit)
    ]
    headers = {"X-Total-Count": str(total)}
    if (page + 1) * limit < total:
        headers["Link"] = _next(request, p=str(page + 1))
    return JSONResponse(rows, headers=headers)


def _tree(request: Request, model_id: str, revision: str, folder: str) -> Response:
    hub, query = hub_of(request), request.query_params
    sha = commit_of(request, model_id, revision)
    entries = hub.store.tree(model_id, sha)
    if folder and not any(entry.is_dir and entry.path == folder for entry in entries):
        raise HubError(404, "EntryNotFound", f'{folder} does not exist on "{revision}"')
    inside = f"{folder}/" if folder else ""
    rows = [
        entry
        for entry in entries
        if entry.path.startswith(inside)
        and (flag(query.get("recursive")) or "/" not in entry.path.removeprefix(inside))
    ]
    rows.sort(key=lambda entry: (not entry.is_dir, entry.path))
    expand = flag(query.get("expand"))
    most = EXPANDED_TREE_PAGE if expand else hub.tree_page
    limit = min(_number(request, "limit", most), most)
    start = _number(request, "cursor", 0)
    headers = {"Link": _next(request, cursor=str(start + limit))} if start + limit < len(rows) else {}
    page = [_described(request, model_id, sha, entry, expand=expand) for entry in rows[start : start + limit]]
    return JSONResponse(page, headers=headers)


async def asked_paths(request: Request) -> tuple[list[str], bool]:
    """The body of POST …/paths-info: paths and expand, as a form (the Python client) or as JSON."""
    if request.headers.get("content-type", "").startswith("application/json"):
        body = await request.json()
        return [str(path) for path in body.get("paths", [])], flag(body.get("expand"))
    form = parse_qs((await request.body()).decode())
    return form.get("paths", []), flag(form.get("expand", [""])[0])


def describe_paths(request: Request, paths: list[str], *, expand: bool) -> Response:
    """POST /api/models/{org}/{name}/paths-info/{rev}; paths that do not exist are left out, as on the Hub."""
    parts = segments(request)[2:]
    model_id = "/".join(parts[:2])
    lies_of(request).before_answer(model_id, "api")
    known_repo(request, model_id)
    if len(parts) < 4 or parts[2] != "paths-info":
        raise HubError(404, None, "Not found")
    sha = commit_of(request, model_id, take_revision(parts[3:])[0])
    rows = [entry for entry in hub_of(request).store.tree(model_id, sha) if entry.path in paths]
    return JSONResponse([_described(request, model_id, sha, entry, expand=expand) for entry in rows])


def _described(request: Request, model_id: str, sha: str, entry: Entry, *, expand: bool) -> dict[str, Any]:
    hub = hub_of(request)
    kind = "directory" if entry.is_dir else "file"
    row: dict[str, Any] = {"type": kind, "oid": entry.oid, "size": entry.size, "path": entry.path}
    if entry.lfs:
        # Here the sha256 is called oid, in siblings it is called sha256: the Hub's own choice.
        row["lfs"] = {"oid": entry.lfs.sha256, "size": entry.lfs.size, "pointerSize": entry.lfs.pointer_size}
        if hub.xet:
            row["xetHash"] = xet_hash(entry.lfs)
    if expand:
        last = hub.store.log(model_id, sha, limit=1, path=entry.path)[0]
        row["lastCommit"] = {"id": last.sha, "title": last.title, "date": last.date}
        if not entry.is_dir:
            level = hub.store.meta(model_id).security.get(entry.path, "safe")
            av = {"status": level, "message": "Written by hand for the sample Hub"}
            pickle = {"status": "unscanned", "pickleImports": [], "version": "0.0.0"}
            row["securityFileStatus"] = {"status": level, "avScan": av, "pickleImportScan": pickle}
    return row


def _paged(request: Request, rows: list[dict[str, Any]], limit: int) -> Response:
    start = _number(request, "cursor", 0)
    headers = {"Link": _next(request, cursor=str(start + limit))} if start + limit < len(rows) else {}
    return JSONResponse(rows[start : start + limit], headers=headers)


def _next(request: Request, **changed: str) -> str:
    """A Link header to the same address with `changed` query parameters; absolute, as on the Hub."""
    query = [(k, v) for k, v in request.query_params.multi_items() if k not in changed] + list(
        changed.items()
    )
    path = request.scope["raw_path"].decode("ascii", "replace")
    return f'<{request.url.scheme}://{request.url.netloc}{path}?{urlencode(query)}>; rel="next"'


def _number(request: Request, name: str, default: int) -> int:
    try:
        value = int(request.query_params.get(name, default))
    except ValueError:
        value = -1
    if value < 0 or (name == "limit" and value == 0):
        raise HubError(400, None, f"{name} must be a positive number")
    return value
