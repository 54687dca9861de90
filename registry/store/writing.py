"""What comes into the store and what leaves it: every byte is hashed on the way in, nothing in use is taken away."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO

from django.conf import settings

from registry import store_cache, store_s3
from registry.exceptions import IntegrityFailure
from registry.store.folder import Stored, alone, mark_of, path_of, place, root
from registry.store.reading import verified
from registry.store.snapshots import local_paths
from registry.store.unfinished import Taking, continued, fresh


def put(chunks: Iterable[bytes], *, size: int, sha256: str = "") -> Stored:
    """Stores a stream of exactly `size` bytes, and of digest `sha256` when that is given.

    Raises IntegrityFailure as soon as the stream is longer than declared, when it ends short, or when its digest is
    another; nothing is kept then.
    """
    with fresh() as (file, temporary):
        taking = Taking(file, size)
        taking.write(chunks)
        if sha256 and taking.sha256 != sha256:
            raise IntegrityFailure("The bytes received are not the ones asked for.", code="wrong_bytes")
        return _finished(taking, temporary)


def put_rest(rest: Callable[[int], Iterable[bytes]], *, size: int, sha256: str) -> Stored:
    """Stores a file that is declared to have this digest, and goes on with what a killed worker left of it.

    `rest` streams from a byte on. The whole is hashed, what was left included; when it has another digest, all of it is
    thrown away and fetched anew, once. Compare the digest of what was stored then. Raises IntegrityFailure as `put` does.
    """
    with continued(sha256) as (file, temporary):
        taking = Taking(file, size)
        start = taking.find()
        taking.write(rest(start) if start < size else ())
        if start and taking.sha256 != sha256:
            taking.again()
            taking.write(rest(0))
        return _finished(taking, temporary)


def _finished(taking: Taking, temporary: Path) -> Stored:
    taking.file.flush()
    os.fsync(taking.file.fileno())
    digest, size = taking.sha256, taking.size
    if settings.STORE_S3:
        store_s3.upload(temporary, digest, size)
    mark, replaced = place(temporary, digest)
    if settings.STORE_S3:
        store_cache.used(root(), digest)
        store_cache.shrink(root())
    return Stored(digest, size, taking.git_oid, mark, replaced)


def renew(sha256: str, size: int) -> Stored | None:
    """Makes what lies in the store as young as if it were put now; it is re-hashed, and no byte of it is written.

    None when it has to be put: nothing of these bytes lies there, it was taken away or replaced while it was hashed, or
    its time cannot be changed. Raises StoreUnreachable.
    """
    try:
        with verified(sha256, size) as source:
            if not settings.STORE_S3:
                return _touched(source, sha256, size)
            # Says first that it is used, then looks whether the object is there and right, as `put` does.
            with local_paths([sha256]) as held:
                store_s3.upload(held[sha256], sha256, size)
            return Stored(sha256, size, "")
    except store_s3.StoreUnreachable:
        raise
    except (IntegrityFailure, ValueError):  # not there, damaged, or not the name of a blob
        return None


def _touched(source: IO[bytes], sha256: str, size: int) -> Stored | None:
    """Under the lock that garbage collection deletes under: it was deleted before, or it is young when its age is asked."""
    path = path_of(sha256)
    with alone(), contextlib.suppress(FileNotFoundError, PermissionError):
        replaced = mark_of(path)
        if replaced is None or not os.path.samestat(os.fstat(source.fileno()), path.lstat()):
            return None
        # Later than before by the clock's smallest step at least: `discard` tells by it who wrote last.
        now = max(time.time_ns(), replaced[1] + 1)
        os.utime(source.fileno(), ns=(now, now))
        mark = mark_of(path)
        return Stored(sha256, size, "", mark, replaced) if mark != replaced else None
    return None


def set_aside(sha256: str) -> None:
    """Moves what lies under a digest and does not have it to `<store>/damaged/`: no reader can meet it any more."""
    if settings.STORE_S3:
        store_s3.set_aside(sha256)
        path_of(sha256).unlink(missing_ok=True)
        return
    folder = root() / "damaged"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path_of(sha256).rename(folder / f"{sha256}.{time.time_ns()}")


def discard(stored: Stored) -> bool:
    """Removes what a failed intake put, when it was new then and nobody put the same bytes since. True when it is gone.

    Everything else is left to `collect`: another intake may have found the file there and not have recorded it yet. A
    bucket cannot tell whether that happened, so there all of it is left.
    """
    if settings.STORE_S3 or stored.replaced is not None:
        return False
    path = path_of(stored.sha256)
    with alone():
        if stored.mark is None or mark_of(path) != stored.mark:
            return False
        path.unlink()
    return True


def blobs() -> Iterator[tuple[str, float]]:
    """(digest, when it was last put or renewed) of everything stored."""
    if settings.STORE_S3:
        yield from store_s3.blobs()
        return
    for path in root().glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
        with contextlib.suppress(FileNotFoundError):
            yield path.name, path.lstat().st_mtime


def delete_older(sha256: str, before: float) -> bool:
    """Deletes a blob that nobody put or renewed since `before` (seconds since 1970); for garbage collection only."""
    path = path_of(sha256)
    if settings.STORE_S3:
        if deleted := store_s3.delete_older(sha256, before):
            path.unlink(missing_ok=True)
        return deleted
    with alone(), contextlib.suppress(FileNotFoundError):
        if path.lstat().st_mtime < before:
            path.unlink()
            return True
    return False
