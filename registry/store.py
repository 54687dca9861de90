"""The content-addressed store: a file's name is the SHA-256 of its bytes, so the same bytes are kept once.

Folder layout: `<store>/ab/cd/<sha256>`, mode 0444. Writes go through a temporary file, fsync and rename, so that a crash
leaves either the whole file or nothing. Readers get bytes that were re-hashed, or IntegrityFailure.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
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


def put(chunks: Iterable[bytes], *, size: int) -> Stored:
    """Stores a stream of exactly `size` bytes.

    Raises IntegrityFailure as soon as the stream is longer than declared, or when it ends short; nothing is kept then.
    """
    folder = root() / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    sha256, git = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
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
                sha256.update(chunk)
                git.update(chunk)
                file.write(chunk)
            if written != size:
                raise IntegrityFailure(
                    f"The Hub declared {size} bytes and sent {written}.", code="shorter_than_declared"
                )
            file.flush()
            os.fsync(file.fileno())
        digest = sha256.hexdigest()
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
    """Opens a blob without following links. Raises IntegrityFailure when it is missing or not a plain file."""
    try:
        return os.fdopen(os.open(path_of(sha256), os.O_RDONLY | os.O_NOFOLLOW), "rb")
    except OSError as error:
        raise IntegrityFailure(
            f"The file {sha256[:12]} is missing from the store or is not a plain file. It is not served; "
            "restore the store from its backup or run the intake again."
        ) from error


def verified(sha256: str, size: int) -> IO[bytes]:
    """Opens a blob, re-hashes it through the same descriptor, and rewinds it. Raises IntegrityFailure on any other bytes."""
    file = open_blob(sha256)
    digest, length = hashlib.sha256(), 0
    while chunk := file.read(CHUNK):
        digest.update(chunk)
        length += len(chunk)
    if digest.hexdigest() != sha256 or length != size:
        file.close()
        raise IntegrityFailure(
            f"The stored file {sha256[:12]} does not have the bytes that were approved. It is not served; "
            "run the intake again to fetch it anew."
        )
    file.seek(0)
    return file


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
    folder = root() / "snapshots"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        base = Path(name)
        for path, sha256, size in files:
            target = base / safe_path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with verified(sha256, size) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, CHUNK)
        yield base
