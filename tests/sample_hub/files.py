"""The file routes: resolve, and where it redirects to: the resolve cache for small files, the CDN for LFS."""

import hashlib
import re
from collections.abc import Callable, Iterator
from email.utils import quote as quoted_string
from pathlib import Path
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from tests.sample_hub.asking import commit_of, hub_of, known_repo, lies_of, segments, take_revision, user_of
from tests.sample_hub.errors import HubError
from tests.sample_hub.lies import endless_body
from tests.sample_hub.store import EntryNotFound, Lfs

_CHUNK_BYTES = 256 * 1024
_LOOPBACK = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}


def xet_hash(lfs: Lfs) -> str:
    """64 hex in place of a Xet hash. Nothing here serves Xet: it only shows whether a gateway strips it."""
    return hashlib.sha256(f"xet:{lfs.sha256}".encode()).hexdigest()


def resolve(request: Request) -> Response:
    """HEAD, GET /{org}/{name}/resolve/{rev}/{path}: 307 to /api/resolve-cache/…, for LFS 302 to /cdn/…."""
    parts = segments(request)
    model_id = "/".join(parts[:2])
    hub, lies = hub_of(request), lies_of(request)
    lies.before_answer(model_id, "resolve")
    meta = known_repo(request, model_id)
    if meta.disabled:
        raise HubError(403, None, "Access to this resource is disabled.")
    if meta.gated and user_of(request) is None:
        message = (
            f"Access to model {model_id} is restricted. You must have access to it and be authenticated."
        )
        raise HubError(401, "GatedRepo", message)
    revision, rest = take_revision(parts[3:])
    path = "/".join(rest)
    sha = commit_of(request, model_id, revision)
    said = lies.commit_header(model_id, sha)
    try:
        entry = hub.store.entry(model_id, sha, path)
    except EntryNotFound as missing:
        # With the commit the client remembers the absence and does not ask again.
        headers = {"X-Repo-Commit": said}
        raise HubError(404, "EntryNotFound", "Entry not found", plain=True, headers=headers) from missing
    headers = {"X-Repo-Commit": said, "Accept-Ranges": "bytes"}
    if lies.redirect_to is not None and lies.about(model_id):
        return PlainTextResponse("Redirecting", 302, headers | {"Location": lies.redirect_to})
    if entry.lfs is None:
        etag = f'"{entry.oid}"'
        query = urlencode({request.url.path: "", "etag": etag})
        headers |= {"X-Linked-Etag": etag, "Content-Disposition": _disposition(path)}
        headers["Location"] = f"/api/resolve-cache/models/{model_id}/{sha}/{quote(path)}?{query}"
        return PlainTextResponse(f"Temporary Redirect. Redirecting to {headers['Location']}", 307, headers)
    headers |= {"X-Linked-Etag": f'"{entry.lfs.sha256}"', "X-Linked-Size": str(entry.lfs.size)}
    query = urlencode({"model": model_id, "commit": sha, "path": path})
    headers["Location"] = f"{_cdn_origin(request)}/cdn/{meta.internal_id}/{entry.lfs.sha256}?{query}"
    headers["Cache-Control"] = "no-store"
    if hub.xet:
        headers["X-Xet-Hash"] = xet_hash(entry.lfs)
        headers["Link"] = f'</api/models/{model_id}/xet-read-token/{sha}>; rel="xet-auth"'
    return PlainTextResponse(f"Found. Redirecting to {headers['Location']}", 302, headers)


def _cdn_origin(request: Request) -> str:
    """This server under its other loopback name: another origin, as the real CDN is, on the same port.

    A client then reads the metadata from the redirect itself and sends the CDN no token. Under any other host
    name the redirect stays on it.
    """
    host = request.url.hostname or ""
    if host not in _LOOPBACK or request.url.port is None:
        return f"{request.url.scheme}://{request.url.netloc}"
    return f"{request.url.scheme}://{_LOOPBACK[host]}:{request.url.port}"


def resolve_cache(request: Request) -> Response:
    """/api/resolve-cache/models/{org}/{name}/{sha}/{path}: the bytes of a small file."""
    parts = segments(request)[3:]
    model_id, sha, path = "/".join(parts[:2]), "/".join(parts[2:3]), "/".join(parts[3:])
    lies_of(request).before_answer(model_id, "file")
    known_repo(request, model_id)
    store = hub_of(request).store
    commit_of(request, model_id, sha)
    try:
        entry = store.entry(model_id, sha, path)
    except EntryNotFound as missing:
        raise HubError(404, "EntryNotFound", "Entry not found", plain=True) from missing
    content = store.read_file(model_id, sha, path)
    headers = {"ETag": f'"{entry.oid}"', "X-Repo-Commit": lies_of(request).commit_header(model_id, sha)}

    def read(start: int, length: int) -> Iterator[bytes]:
        if length:
            yield content[start : start + length]

    return _send(request, model_id, path, len(content), read, headers, "text/plain; charset=utf-8")


def cdn(request: Request) -> Response:
    """/cdn/{internal id}/{sha256}: the bytes of an LFS file. Asks for no token, like a signed address."""
    query, store = request.query_params, hub_of(request).store
    sha256 = segments(request)[-1]
    model_id, sha, path = (query.get(name, "") for name in ("model", "commit", "path"))
    lies_of(request).before_answer(model_id, "file")
    blob = store.lfs_path(sha256)
    if not re.fullmatch(r"[0-9a-f]{64}", sha256) or not blob.is_file():
        raise HubError(403, None, "Access Denied", plain=True)
    headers = {"ETag": f'"{sha256}"', "X-Repo-Commit": lies_of(request).commit_header(model_id, sha)}
    read = _reader(blob)
    return _send(request, model_id, path, blob.stat().st_size, read, headers, "application/octet-stream")


def _reader(blob: Path) -> Callable[[int, int], Iterator[bytes]]:
    def read(start: int, length: int) -> Iterator[bytes]:
        with blob.open("rb") as file:
            file.seek(start)
            while length > 0 and (chunk := file.read(min(_CHUNK_BYTES, length))):
                length -= len(chunk)
                yield chunk

    return read


def _send(
    request: Request,
    model_id: str,
    path: str,
    size: int,
    read: Callable[[int, int], Iterator[bytes]],
    headers: dict[str, str],
    media_type: str,
) -> Response:
    """200, or 206 for one byte range, or 416. `read(start, length)` yields the file's bytes."""
    lies = lies_of(request)
    headers |= {"Accept-Ranges": "bytes", "Content-Disposition": _disposition(path)}
    if lies.is_endless(model_id, path) and request.method != "HEAD":
        return StreamingResponse(endless_body(), 200, headers, media_type)
    start, end = _range(request.headers.get("range"), size)
    headers["Content-Length"] = str(end - start)
    status = 200
    if (start, end) != (0, size):
        status, headers["Content-Range"] = 206, f"bytes {start}-{end - 1}/{size}"
    if request.method == "HEAD":
        return Response(b"", status, headers, media_type)
    chunks = lies.tamper(model_id, path, read(start, end - start), start=start, size=size)
    chunks = lies.hamper(model_id, path, chunks, length=end - start)
    return StreamingResponse(chunks, status, headers, media_type)


def _range(header: str | None, size: int) -> tuple[int, int]:
    """[start, end) of a Range header; all of it without one, or for several ranges (may be ignored)."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if match is None or not (match[1] or match[2]):
        return 0, size
    if match[1]:
        start, end = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
    else:
        start, end = max(0, size - int(match[2])), size
    if start >= end:
        raise HubError(
            416, None, "Range not satisfiable", plain=True, headers={"Content-Range": f"bytes */{size}"}
        )
    return start, end


def _disposition(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    plain = quoted_string(name.encode("ascii", "replace").decode())
    return f"inline; filename*=UTF-8''{quote(name)}; filename=\"{plain}\";"
