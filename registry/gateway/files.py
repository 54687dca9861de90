"""`/hub/{org}/{name}/resolve/{revision}/{path}`: one file of an approved revision.

HEAD answers from the manifest. GET opens the blob in the store (re-hashed by this process since it last changed), then
streams it, or hands it to the front server (`ASSAY_ACCEL`). Nothing here ever speaks to the upstream Hub.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import IO

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse

from registry import store
from registry.actors import Actor
from registry.enums import Scope
from registry.exceptions import IntegrityFailure
from registry.gateway import consumers
from registry.gateway.answers import ENTRY, Refused, attachment, guarded, notice
from registry.gateway.door import caller, hub_view
from registry.gateway.resolving import Given, file_of, page_of, resolve, served_file
from registry.models import RevisionFile
from registry.services import integrity

CHUNK = 512 * 1024
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


@hub_view("get")
def resolve_file(request: HttpRequest, org: str, name: str, revision: str, path: str) -> HttpResponseBase:
    """HEAD and GET of one file. Whatever is no listed file, tricks with the path included, gets one and the same answer."""
    actor = caller(request, Scope.ARTIFACTS)
    given, file = _asked_for(actor, f"{org}/{name}", revision, path)
    if file is None:
        raise Refused(
            404,
            ENTRY,
            f"There is no such file among the approved ones of {given.model_id}@{given.commit_sha[:12]}: "
            f"{page_of(given.revision)}",
            # Clients look for files that need not exist, many for each model: this is no warning. With the commit
            # they remember the absence and do not ask again.
            warn=False,
            headers={"X-Repo-Commit": given.commit_sha},
        )
    if request.method == "HEAD":
        consumers.note(actor, given.revision.pk)
        answer: HttpResponseBase = HttpResponse()
        answer["Content-Length"] = str(file.blob.size)
    else:
        answer = _content(request, actor, given, file)
    return _described(answer, given, file)


def _asked_for(actor: Actor, model_id: str, revision: str, path: str) -> tuple[Given, RevisionFile | None]:
    if found := served_file(actor, model_id, revision, path):
        return found
    given = resolve(actor, model_id, revision)
    return given, file_of(given, path)


def _described(answer: HttpResponseBase, given: Given, file: RevisionFile) -> HttpResponseBase:
    """Headers of every answer about a file. The ETag is the content's digest: the client's cache is named by it."""
    etag = f'"{file.blob_id if file.is_lfs or not file.git_oid else file.git_oid}"'
    answer["X-Repo-Commit"] = given.commit_sha
    answer["ETag"] = answer["X-Linked-Etag"] = etag
    answer["X-Linked-Size"] = str(file.blob.size)
    if "Content-Length" in answer:  # else the front server sends the bytes, and says this itself
        answer["Accept-Ranges"] = "bytes"
    answer["Content-Type"] = "application/octet-stream"
    answer["Content-Disposition"] = attachment(file.path)
    notice(answer, given.notice)
    return guarded(answer)


def _content(request: HttpRequest, actor: Actor, given: Given, file: RevisionFile) -> HttpResponseBase:
    size = file.blob.size
    source = _opened(file)
    if settings.ACCEL:
        source.close()
        consumers.note(actor, given.revision.pk, sent=size, files=1)
        return _handed_over(file)
    start, end, partial = 0, size, False
    try:
        if found := _range(request, size):
            (start, end), partial = found, True
    except Refused:
        source.close()
        raise
    sending = _Sending(source, start, end, actor, given.revision.pk)
    answer = StreamingHttpResponse(sending, status=206 if partial else 200)
    answer["Content-Length"] = str(end - start)
    if partial:
        answer["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return answer


def _opened(file: RevisionFile) -> IO[bytes]:
    """The verified bytes. Raises Refused with 503 after noting the damage, or saying that the store does not answer."""
    try:
        source = store.verified_once(file.blob_id, file.blob.size)
    except IntegrityFailure as failure:
        integrity.damaged(file.blob_id, failure)
        # Not one of the Hub's codes: none of them says this, and the clients show the sentence.
        code = failure.code if failure.code == "store_unreachable" else "integrity_error"
        raise Refused(
            503, code, f"{file.path}: {failure.message}", headers={"Retry-After": "60"}
        ) from failure
    if file.blob.damaged_at is not None:
        integrity.whole(file.blob_id)  # somebody restored it
    return source


def _range(request: HttpRequest, size: int) -> tuple[int, int] | None:
    """[start, end) of a request for one range; None means all of it, also for what may be ignored (RFC 9110, 14.2).

    Raises Refused with 416 when it asks for nothing that exists.
    """
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if match is None or not (match[1] or match[2]):
        return None
    if match[1]:
        start, end = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    else:
        start, end = max(0, size - int(match[2])), size
    if start >= end:
        raise Refused(
            416,
            "",
            f"The file has {size} bytes; none of them are in the range asked for.",
            warn=False,
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end


class _Sending:
    """Streams [start, end) and counts what was taken. A class, because `close` also runs when nothing was ever taken."""

    def __init__(self, source: IO[bytes], start: int, end: int, actor: Actor, revision: int) -> None:
        self.source, self.left, self.sent = source, end - start, 0
        self.actor, self.revision, self.closed = actor, revision, False
        source.seek(start)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        chunk = b"" if self.closed else self.source.read(min(CHUNK, self.left))
        if not chunk:
            self.close()
            raise StopIteration
        self.left -= len(chunk)
        self.sent += len(chunk)
        return chunk

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.source.close()
            consumers.note(self.actor, self.revision, sent=self.sent, files=1)


def _handed_over(file: RevisionFile) -> HttpResponse:
    """The front server sends the bytes, ranges included, from the store that it can read."""
    answer = HttpResponse()
    path = store.path_of(file.blob_id)
    if settings.ACCEL == "sendfile":
        answer["X-Sendfile"] = str(path.absolute())
    else:
        answer["X-Accel-Redirect"] = settings.ACCEL + path.relative_to(store.root()).as_posix()
    # The front server knows the length; one of ours would be that of this empty body.
    return answer
