"""Where blobs lie on this machine, and how a finished file gets there: temporary file, fsync, rename."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

CHUNK = 1024 * 1024


Mark = tuple[int, int]  # inode, time of last write


@dataclass(frozen=True)
class Stored:
    sha256: str
    size: int
    git_oid: str  # what git would call the same bytes as a blob; empty of what was only renewed
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


def workplace(name: str) -> Path:
    """A folder for unfinished work, cleared of what workers left there that were killed longer ago than any job lasts."""
    folder = root() / name
    folder.mkdir(parents=True, exist_ok=True)
    oldest = time.time() - 2 * settings.JOB_TIMEOUT_S - 3600
    for left in folder.iterdir():
        with contextlib.suppress(OSError):  # another worker clears it, too
            if left.lstat().st_mtime < oldest:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return folder


def place(temporary: Path, sha256: str) -> tuple[Mark, Mark | None]:
    target = path_of(sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary.chmod(0o444)
    with alone():
        replaced, mark = mark_of(target), mark_of(temporary)
        temporary.replace(target)
    _sync_folder(target.parent)
    assert mark is not None
    return mark, replaced


def mark_of(path: Path) -> Mark | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@contextmanager
def alone() -> Iterator[None]:
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
