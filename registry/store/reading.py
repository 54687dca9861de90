"""What leaves the store as bytes: opened without following links, re-hashed, or refused."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from django.conf import settings

from registry import store_cache, store_s3
from registry.exceptions import IntegrityFailure
from registry.store.folder import CHUNK, path_of, place, root, workplace


def open_blob(sha256: str) -> IO[bytes]:
    """Opens a blob without following links, in a bucket after fetching a verified copy when there is none.

    Raises IntegrityFailure; its detail `found` says what lies there: "nothing", "no_file" (a link, a folder, a pipe) or
    "unreadable" (the system could not open it just now, which says nothing of the bytes).
    """
    if settings.STORE_S3:
        try:
            file = _open_local(sha256)
        except IntegrityFailure as failure:
            if failure.details["found"] == "unreadable":
                raise
            _fetch(sha256)
            file = _open_local(sha256)
        store_cache.used(root(), sha256)
        return file
    return _open_local(sha256)


def _fetch(sha256: str) -> None:
    """Copies an object into the folder, hashing on the way. Raises IntegrityFailure as `open_blob` and `verified` do."""
    with _one_at_a_time(f"fetch {sha256}"):
        with contextlib.suppress(IntegrityFailure):
            _open_local(sha256).close()
            return  # somebody else fetched it while this one waited
        chunks = store_s3.read(sha256)
        if chunks is None:
            raise _not_served(sha256, "nothing")
        with contextlib.suppress(FileNotFoundError, IsADirectoryError, PermissionError):
            path_of(sha256).unlink()  # a link, a pipe: what lies in the way of a copy
        folder = workplace("tmp")
        handle, name = tempfile.mkstemp(dir=folder)
        try:
            hashed = hashlib.sha256()
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    hashed.update(chunk)
                    file.write(chunk)
            if hashed.hexdigest() != sha256:
                raise _not_served(sha256, "wrong")
            place(Path(name), sha256)
        finally:
            Path(name).unlink(missing_ok=True)
        store_cache.used(root(), sha256)
        store_cache.shrink(root())


def _open_local(sha256: str) -> IO[bytes]:
    try:
        # O_NONBLOCK: opening a named pipe would wait for ever for somebody to write into it.
        file = os.fdopen(os.open(path_of(sha256), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
    except OSError as error:
        found = {
            errno.ENOENT: "nothing",
            errno.ENOTDIR: "nothing",
            errno.ELOOP: "no_file",
            errno.EISDIR: "no_file",
            errno.ENXIO: "no_file",
        }.get(error.errno or 0, "unreadable")
        raise _not_served(sha256, found) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _not_served(sha256, "no_file")
    return file


def _not_served(sha256: str, found: str) -> IntegrityFailure:
    what = {
        "nothing": "is missing from the store",
        "no_file": "is not a plain file in the store",
        "unreadable": "cannot be read from the store just now",
        "wrong": "does not have the bytes that were approved",
    }[found]
    return IntegrityFailure(
        f"The stored file {sha256[:12]} {what}. It is not served; "
        "restore the store from its backup or run the intake again to fetch it anew.",
        found=found,
    )


def verified(sha256: str, size: int) -> IO[bytes]:
    """Opens a blob, re-hashes it through the same descriptor, and rewinds it.

    Raises IntegrityFailure on any other bytes (detail `found` is "wrong") and as `open_blob` does. A damaged copy of an
    object is not the object's damage: it is thrown away and fetched again, once.
    """
    try:
        return _verified(sha256, size)
    except IntegrityFailure as failure:
        if not settings.STORE_S3 or failure.details.get("found") != "wrong":
            raise
        path_of(sha256).unlink(missing_ok=True)
        return _verified(sha256, size)


def check(sha256: str, size: int) -> None:
    """Re-hashes what the store itself holds, in a bucket the object and not our copy of it. Raises as `verified` does."""
    if not settings.STORE_S3:
        verified(sha256, size).close()
        return
    chunks = store_s3.read(sha256)
    if chunks is None:
        raise _not_served(sha256, "nothing")
    digest, length = hashlib.sha256(), 0
    for chunk in chunks:
        digest.update(chunk)
        length += len(chunk)
    if digest.hexdigest() != sha256 or length != size:
        raise _not_served(sha256, "wrong")


def _verified(sha256: str, size: int) -> IO[bytes]:
    file = open_blob(sha256)
    digest, length = hashlib.sha256(), 0
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        length += len(chunk)
    if digest.hexdigest() != sha256 or length != size:
        file.close()
        raise _not_served(sha256, "wrong")
    file.seek(0)
    return file


# What this process has re-hashed: digest -> what the file was then. Any write, rename, chmod or restore changes it.
Print = tuple[int, int, int, int, int]
_known: dict[str, Print] = {}
_hashing: dict[str, threading.Lock] = {}
_guard = threading.Lock()


def _print_of(file: IO[bytes]) -> Print:
    found = os.fstat(file.fileno())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def verified_once(sha256: str, size: int) -> IO[bytes]:
    """Opens a blob that this process has re-hashed since it last changed, re-hashing it when it has not.

    Raises IntegrityFailure as `verified` does. One hash at a time for a blob: clients that time out and come again while
    a big file is being hashed wait for that hash and do not each start another.
    """
    file = open_blob(sha256)
    if _known.get(sha256) == _print_of(file):
        return file
    file.close()
    with _one_at_a_time(sha256):
        file = open_blob(sha256)
        before = _print_of(file)
        if _known.get(sha256) == before:
            return file
        file.close()
        _known.pop(sha256, None)
        file = verified(sha256, size)
        after = _print_of(file)
        # A file written within the clock's last tick could be written again with the same times: not remembered yet.
        if before == after and time.time_ns() - after[4] > 20_000_000:
            _known[sha256] = after
        return file


def _one_at_a_time(name: str) -> threading.Lock:
    with _guard:
        return _hashing.setdefault(name, threading.Lock())


def forget() -> None:
    """Empties this process's memory of re-hashed blobs, as a new process has it."""
    _known.clear()
