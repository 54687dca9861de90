"""The content-addressed store: a file's name is the SHA-256 of its bytes, so the same bytes are kept once.

Folder layout: `<store>/ab/cd/<sha256>`, mode 0444. Writes go through a temporary file, fsync and rename, so that a crash
leaves either the whole file or nothing. Readers get bytes that were re-hashed, or IntegrityFailure.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.conf import settings

from registry.exceptions import IntegrityFailure, InvalidInput

CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Stored:
    sha256: str
    size: int
    git_oid: str  # what git would call the same bytes as a blob


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
        target = path_of(digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.chmod(0o444)
        temporary.replace(target)
        _sync_folder(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return Stored(digest, size, git.hexdigest())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_blob(sha256: str) -> IO[bytes]:
    """Opens a blob without following links.

    Raises IntegrityFailure; its detail `found` says what lies there: "nothing", "no_file" (a link, a folder, a pipe) or
    "unreadable" (the system could not open it just now, which says nothing of the bytes).
    """
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

    Raises IntegrityFailure on any other bytes (detail `found` is "wrong") and as `open_blob` does.
    """
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
    with _guard:
        lock = _hashing.setdefault(sha256, threading.Lock())
    with lock:
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


def forget() -> None:
    """Empties this process's memory of re-hashed blobs, as a new process has it."""
    _known.clear()


def set_aside(sha256: str) -> None:
    """Moves what lies under a digest and does not have it to `<store>/damaged/`: no reader can meet it any more."""
    folder = root() / "damaged"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path_of(sha256).rename(folder / f"{sha256}.{time.time_ns()}")


def discard(sha256: str) -> None:
    """Removes a blob that no revision uses (a failed intake's)."""
    path_of(sha256).unlink(missing_ok=True)


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
