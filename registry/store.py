"""The content-addressed store: a file's name is the SHA-256 of its bytes, so the same bytes are kept once.

Folder layout: `<store>/ab/cd/<sha256>`, mode 0444. Writes go through a temporary file, fsync and rename, so that a crash
leaves either the whole file or nothing. Readers get bytes that were re-hashed, or IntegrityFailure.

With ASSAY_STORE=s3 the bucket (`registry/store_s3.py`) is the store, and this folder holds verified copies of what was used
last: whoever reads a blob gets a local file in both. `registry/store_cache.py` keeps it below its size. docs/store.md.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from django.conf import settings

from registry import store_cache, store_s3
from registry.exceptions import IntegrityFailure, InvalidInput

CHUNK = 1024 * 1024


Mark = tuple[int, int]  # inode, time of last write


@dataclass(frozen=True)
class Stored:
    sha256: str
    size: int
    git_oid: str  # what git would call the same bytes as a blob
    # This writing of the file, and the one that it replaced: what `discard` needs to leave other people's alone.
    mark: Mark | None = field(default=None, compare=False)
    replaced: Mark | None = field(default=None, compare=False)


def root() -> Path:
    return Path(settings.STORE_DIR)


def path_of(sha256: str) -> Path:
    """Where a blob lies. Raises ValueError for anything that is not 64 lower-case hex digits."""
    if len(sha256) != 64 or any(c not in "0123456789abcdef" for c in sha256):
        raise ValueError("not a sha256")
    return root() / sha256[:2] / sha256[2:4] / sha256


def _workplace(name: str) -> Path:
    """A folder for unfinished work, cleared of what workers left there that were killed longer ago than any job lasts."""
    folder = root() / name
    folder.mkdir(parents=True, exist_ok=True)
    oldest = time.time() - 2 * settings.JOB_TIMEOUT_S - 3600
    for left in folder.iterdir():
        with contextlib.suppress(OSError):  # another worker clears it, too
            if left.lstat().st_mtime < oldest:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return folder


def put(chunks: Iterable[bytes], *, size: int, sha256: str = "") -> Stored:
    """Stores a stream of exactly `size` bytes, and of digest `sha256` when that is given.

    Raises IntegrityFailure as soon as the stream is longer than declared, when it ends short, or when its digest is
    another; nothing is kept then.
    """
    folder = _workplace("tmp")
    hashed, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    handle, name = tempfile.mkstemp(dir=folder)
    temporary = Path(name)
    try:
        written = 0
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                written += len(chunk)
                if written > size:
                    raise IntegrityFailure(
                        f"The Hub declared {size} bytes and sent more.", code="longer_than_declared"
                    )
                hashed.update(chunk)
                git.update(chunk)
                file.write(chunk)
            if written != size:
                raise IntegrityFailure(
                    f"The Hub declared {size} bytes and sent {written}.", code="shorter_than_declared"
                )
            digest = hashed.hexdigest()
            if sha256 and digest != sha256:
                raise IntegrityFailure("The bytes received are not the ones asked for.", code="wrong_bytes")
            file.flush()
            os.fsync(file.fileno())
        if settings.STORE_S3:
            store_s3.upload(temporary, digest, size)
        mark, replaced = _place(temporary, digest)
    finally:
        temporary.unlink(missing_ok=True)
    if settings.STORE_S3:
        store_cache.used(root(), digest)
        store_cache.shrink(root())
    return Stored(digest, size, git.hexdigest(), mark, replaced)


def _place(temporary: Path, sha256: str) -> tuple[Mark, Mark | None]:
    target = path_of(sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary.chmod(0o444)
    with _alone():
        replaced, mark = _mark_of(target), _mark_of(temporary)
        temporary.replace(target)
    _sync_folder(target.parent)
    assert mark is not None
    return mark, replaced


def _mark_of(path: Path) -> Mark | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@contextmanager
def _alone() -> Iterator[None]:
    """For a moment nobody else, in any process, puts a file in place or takes one away."""
    descriptor = os.open(root(), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
        folder = _workplace("tmp")
        handle, name = tempfile.mkstemp(dir=folder)
        try:
            hashed = hashlib.sha256()
            with os.fdopen(handle, "wb") as file:
                for chunk in chunks:
                    hashed.update(chunk)
                    file.write(chunk)
            if hashed.hexdigest() != sha256:
                raise _not_served(sha256, "wrong")
            _place(Path(name), sha256)
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
    with _alone():
        if stored.mark is None or _mark_of(path) != stored.mark:
            return False
        path.unlink()
    return True


def blobs() -> Iterator[tuple[str, float]]:
    """(digest, when it was last put) of everything stored."""
    if settings.STORE_S3:
        yield from store_s3.blobs()
        return
    for path in root().glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
        with contextlib.suppress(FileNotFoundError):
            yield path.name, path.lstat().st_mtime


def delete_older(sha256: str, before: float) -> bool:
    """Deletes a blob that nobody put since `before` (seconds since 1970); for garbage collection only."""
    path = path_of(sha256)
    if settings.STORE_S3:
        if deleted := store_s3.delete_older(sha256, before):
            path.unlink(missing_ok=True)
        return deleted
    with _alone(), contextlib.suppress(FileNotFoundError):
        if path.lstat().st_mtime < before:
            path.unlink()
            return True
    return False


@contextmanager
def local_paths(sha256s: Iterable[str]) -> Iterator[dict[str, Path]]:
    """Paths that a child process may open while this lasts: links of its own, where copies may be evicted meanwhile."""
    if not settings.STORE_S3:
        wanted = set(sha256s)
        for sha256 in wanted:
            open_blob(sha256).close()
        yield {sha256: path_of(sha256) for sha256 in wanted}
        return
    with tempfile.TemporaryDirectory(dir=_workplace("snapshots")) as name:
        held = {}
        for sha256 in set(sha256s):
            open_blob(sha256).close()
            held[sha256] = Path(name) / sha256
            os.link(path_of(sha256), held[sha256])
        yield held


def safe_path(path: str) -> str:
    """A repository path that is safe to create below a folder, unchanged. Raises InvalidInput for any other."""
    parts = path.split("/")
    bad = (
        not path
        or len(path) > 500
        or path.startswith("/")
        or "\\" in path
        or any(part in ("", ".", "..") or part.endswith((" ", ".")) or ":" in part for part in parts)
        or any(ord(c) < 32 or ord(c) == 127 for c in path)
    )
    if bad:
        raise InvalidInput(
            f"The repository lists a file name that is not allowed: {path[:80]!r}. Nothing was downloaded.",
            code="unsafe_path",
        )
    return path


@contextmanager
def snapshot(files: Iterable[tuple[str, str, int]]) -> Iterator[Path]:
    """A temporary folder with a revision's files, copied from re-hashed bytes; `files` = (path, sha256, size)."""
    folder = _workplace("snapshots")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        base = Path(name)
        for path, sha256, size in files:
            target = base / safe_path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with verified(sha256, size) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, CHUNK)
        yield base
