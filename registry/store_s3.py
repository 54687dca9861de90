"""The store in a bucket: objects named by digest, which appear whole or not at all and are never overwritten.

`registry/store/` keeps a bounded folder of verified copies in front of it; nobody else calls this file. An object is
uploaded from a file that was hashed already, with `If-None-Match: *` and with its SHA-256, which the server checks; the
server's own digest is asked for afterwards, and where it has none the object is read again and hashed.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from storages.backends.s3 import S3Storage
from urllib3.exceptions import HTTPError

from registry.exceptions import IntegrityFailure

CHUNK = 1024 * 1024
PART = 16 * CHUNK
_THERE_ALREADY = ("PreconditionFailed", "ConditionalRequestConflict")
_NOT_THERE = ("404", "NoSuchKey", "NotFound")
_OTHER_BYTES = ("BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch")
SLOWEST = 256 * 1024  # bytes a second: a body that comes slower than this, on the whole, counts as no answer


class StoreUnreachable(IntegrityFailure):
    """The bucket does not answer, or refuses us. It says nothing of the bytes, so nothing is noted as damaged."""

    code = "store_unreachable"

    def __init__(self, doing: str, why: str) -> None:
        super().__init__(
            f"The artifact store could not {doing} just now ({why}). Nothing was changed; try again, and tell the "
            "operator when it lasts (docs/store.md).",
            found="unreadable",
        )


@contextlib.contextmanager
def _asking(doing: str) -> Iterator[None]:
    """Turns the client's errors into ours. Their text may hold addresses and key ids: only the kind is said."""
    try:
        yield
    except ClientError as error:
        raise StoreUnreachable(doing, str(error.response.get("Error", {}).get("Code", "refused"))) from None
    except (BotoCoreError, HTTPError, OSError) as error:
        raise StoreUnreachable(doing, type(error).__name__) from None


@lru_cache(maxsize=4)
def _storage(options: tuple[tuple[str, Any], ...]) -> S3Storage:
    seconds = settings.STORE_S3_TIMEOUT_S
    return S3Storage(
        **dict(options),
        file_overwrite=False,
        querystring_auth=False,
        client_config=Config(
            connect_timeout=seconds,
            read_timeout=seconds,
            retries={"total_max_attempts": 2, "mode": "standard"},
            s3={"addressing_style": "path"} if settings.STORE_S3.get("endpoint_url") else {},
            # Older S3-compatible servers do not know the trailing checksums that newer clients add by themselves.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def _client() -> Any:
    return _storage(tuple(sorted(settings.STORE_S3.items()))).connection.meta.client


def _bucket() -> str:
    return settings.STORE_S3["bucket_name"]


def key_of(sha256: str, folder: str = "blobs") -> str:
    return f"{settings.STORE_S3_PREFIX}{folder}/{sha256}"


def head(sha256: str) -> dict[str, Any] | None:
    """What the bucket says of an object, its digest included where it has one; None when there is no object."""
    with _asking("be asked for a file"):
        try:
            return cast(
                dict[str, Any],
                _client().head_object(Bucket=_bucket(), Key=key_of(sha256), ChecksumMode="ENABLED"),
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _NOT_THERE:
                return None
            raise


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _part_size(size: int) -> int:
    return max(PART, -(-size // 9_000))  # a bucket takes ten thousand parts


def _digests_of(path: Path, sha256: str, size: int) -> set[str]:
    """How a server may name these bytes: by their digest or, uploaded in parts, by the digest of the parts' digests."""
    found = {_base64(bytes.fromhex(sha256))}
    if size > PART:
        parts, count = hashlib.sha256(), 0
        with path.open("rb") as file:
            while body := file.read(_part_size(size)):
                parts.update(hashlib.sha256(body).digest())
                count += 1
        composite = _base64(parts.digest())
        found |= {composite, f"{composite}-{count}"}
    return found


def _is_right(found: dict[str, Any] | None, path: Path, sha256: str, size: int) -> bool:
    """Whether the object has the file's bytes, by the server's digest; without one, or with another, by reading it."""
    if found is None or found["ContentLength"] != size:
        return False
    if (said := found.get("ChecksumSHA256")) and said in _digests_of(path, sha256, size):
        return True
    chunks = read(sha256)
    if chunks is None:
        return False
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest() == sha256


def upload(path: Path, sha256: str, size: int) -> None:
    """Makes the object of a file that was hashed already. One that is there stays when it is right, else it is set aside."""
    touch(sha256)
    if _is_right(found := head(sha256), path, sha256, size):
        return
    if found is not None:
        set_aside(sha256)
    _send(path, sha256, size)
    if not _is_right(head(sha256), path, sha256, size):
        raise _wrong(sha256)


def _wrong(sha256: str) -> IntegrityFailure:
    return IntegrityFailure(
        f"The bucket does not hold what was uploaded as {sha256[:12]}; nothing was recorded. Try again, and look at "
        "the bucket when it happens twice.",
        code="wrong_bytes",
        found="wrong",
    )


def _send(path: Path, sha256: str, size: int) -> None:
    """Uploads the file, or leaves what somebody put there meanwhile. Nothing but bytes of this digest ever becomes an object:
    they are hashed again on the way, before the request that makes the object, so a server without conditions is safe, too.
    """
    client, named = _client(), {"Bucket": _bucket(), "Key": key_of(sha256)}
    told = {
        "Metadata": {"sha256": sha256},
        "ContentType": "application/octet-stream",
        "ChecksumAlgorithm": "SHA256",
    }
    with _asking("take a file"), path.open("rb") as file:
        try:
            if size <= PART:
                body = file.read()
                if hashlib.sha256(body).hexdigest() != sha256:
                    raise _wrong(sha256)
                digest = _base64(bytes.fromhex(sha256))
                client.put_object(**named, **told, Body=body, ChecksumSHA256=digest, IfNoneMatch="*")
            else:
                _send_in_parts(client, named, told, file, sha256, size)
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code")
            if code in _OTHER_BYTES:  # they changed on the way, and the server refused them
                raise _wrong(sha256) from None
            # Somebody put the same digest meanwhile: the caller looks at what is there.
            if code not in _THERE_ALREADY:
                raise


def _send_in_parts(
    client: Any, named: dict[str, str], told: dict[str, Any], file: Any, sha256: str, size: int
) -> None:
    upload_id = client.create_multipart_upload(**named, **told)["UploadId"]
    mine = {**named, "UploadId": upload_id}
    try:
        parts: list[dict[str, Any]] = []
        whole = hashlib.sha256()
        while body := file.read(_part_size(size)):
            whole.update(body)
            digest = _base64(hashlib.sha256(body).digest())
            part = {"PartNumber": len(parts) + 1, "ChecksumSHA256": digest}
            done = client.upload_part(**mine, **part, Body=body, ChecksumAlgorithm="SHA256")
            parts.append({**part, "ETag": done["ETag"]})
        if whole.hexdigest() != sha256:
            raise _wrong(sha256)
        client.complete_multipart_upload(**mine, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
    except BaseException:
        with contextlib.suppress(ClientError, BotoCoreError):
            client.abort_multipart_upload(**mine)
        raise


def read(sha256: str) -> Iterator[bytes] | None:
    """The object's bytes as they come, unverified; None when there is no object."""
    with _asking("be read"):
        try:
            found = _client().get_object(Bucket=_bucket(), Key=key_of(sha256))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _NOT_THERE:
                return None
            raise
    return _chunks(found["Body"], found["ContentLength"])


def _chunks(body: Any, size: int) -> Iterator[bytes]:
    """The body as it arrives. `read` would wait for a whole chunk, and each byte of a trickle would renew its time-out."""
    stream, left = body._raw_stream, size
    slowest = settings.STORE_S3_TIMEOUT_S + size / SLOWEST
    spent = 0.0  # waiting for the bucket; what the taker of the chunks does in between is not the bucket's
    try:
        while left > 0:
            started = time.monotonic()
            with _asking("be read"):
                chunk = stream.read1(min(CHUNK, left))
            spent += time.monotonic() - started
            if not chunk:
                raise StoreUnreachable("be read", "the answer ended early")
            if spent > slowest:
                raise StoreUnreachable("be read", "the answer is too slow")
            left -= len(chunk)
            yield chunk
    finally:
        body.close()


def set_aside(sha256: str) -> None:
    """Moves a wrong object to `damaged/`. A crash in between leaves both, and the next reader does it again."""
    away = key_of(f"{sha256}.{time.time_ns()}", "damaged")
    source = {"Bucket": _bucket(), "Key": key_of(sha256)}
    with _asking("set a damaged file aside"):
        try:
            _client().copy(source, _bucket(), away, Config=TransferConfig(use_threads=False))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _NOT_THERE:
                return
            raise
        _client().delete_object(**source)


def touch(sha256: str) -> None:
    """Says that somebody stores this digest now: garbage collection leaves it alone for its grace."""
    with _asking("take a file"):
        _client().put_object(Bucket=_bucket(), Key=key_of(sha256, "used"), Body=b"")


def blobs() -> Iterator[tuple[str, float]]:
    """(digest, when it was last written) of every object."""
    with _asking("be listed"):
        pages = _client().get_paginator("list_objects_v2").paginate(Bucket=_bucket(), Prefix=key_of(""))
        for page in pages:
            for found in page.get("Contents", []):
                yield found["Key"].rpartition("/")[2], found["LastModified"].timestamp()


def delete_older(sha256: str, before: float) -> bool:
    """Deletes an object that nobody wrote or stored again since `before` (seconds since 1970)."""
    with _asking("delete a file"):
        for folder in ("blobs", "used"):
            try:
                found = _client().head_object(Bucket=_bucket(), Key=key_of(sha256, folder))
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") in _NOT_THERE:
                    continue
                raise
            if found["LastModified"].timestamp() >= before:
                return False
        for folder in ("blobs", "used"):
            _client().delete_object(Bucket=_bucket(), Key=key_of(sha256, folder))
    return True
