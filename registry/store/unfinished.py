"""Files on their way into the store: one of a known digest is found again after its worker was killed, others are nameless."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from registry.exceptions import IntegrityFailure
from registry.store.folder import CHUNK, path_of, workplace


class Taking:
    """The bytes of a file of `size` as they are written, and their digests."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self.file, self.size = file, size
        self._begin()

    def _begin(self) -> None:
        self.written = 0
        self._hashed = hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % self.size, usedforsecurity=False)

    @property
    def sha256(self) -> str:
        return self._hashed.hexdigest()

    @property
    def git_oid(self) -> str:
        return self._git.hexdigest()

    def write(self, chunks: Iterable[bytes]) -> None:
        """To the end of the file. Raises IntegrityFailure as soon as they are more than declared, or when they end short."""
        for chunk in chunks:
            self._count(chunk)
            self.file.write(chunk)
        if self.written != self.size:
            raise IntegrityFailure(
                f"The Hub declared {self.size} bytes and sent {self.written}.", code="shorter_than_declared"
            )

    def find(self) -> int:
        """Hashes what lies in the file already; how many bytes that are. What is longer than declared is thrown away."""
        if os.fstat(self.file.fileno()).st_size > self.size:
            self.again()
        while chunk := self.file.read(CHUNK):
            self._count(chunk)
        return self.written

    def again(self) -> None:
        """Throws everything away."""
        self.file.seek(0)
        self.file.truncate()
        self._begin()

    def _count(self, chunk: bytes) -> None:
        self.written += len(chunk)
        if self.written > self.size:
            raise IntegrityFailure(
                f"The Hub declared {self.size} bytes and sent more.", code="longer_than_declared"
            )
        self._hashed.update(chunk)
        self._git.update(chunk)


@contextmanager
def fresh() -> Iterator[tuple[IO[bytes], Path]]:
    """An empty file of a name that nobody else has, and its path; gone afterwards, unless it was moved."""
    handle, name = tempfile.mkstemp(dir=workplace("tmp"))
    try:
        with os.fdopen(handle, "r+b") as file:
            yield file, Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def continued(sha256: str) -> Iterator[tuple[IO[bytes], Path]]:
    """The file in which a killed worker was fetching this digest, or an empty one. Whoever ends, well or not, leaves none.

    A lock, which goes with its process, keeps two workers from writing into one file: the second has one of its own.
    """
    with contextlib.ExitStack() as stack:
        found = _alone_in(sha256)
        if found is None:
            yield stack.enter_context(fresh())
            return
        file, path = found
        stack.enter_context(file)
        try:
            yield file, path
        finally:  # while the lock is held: afterwards the name may be somebody else's
            if _is_at(file, path):
                path.unlink(missing_ok=True)


def _alone_in(sha256: str) -> tuple[IO[bytes], Path] | None:
    try:
        path = workplace("tmp") / f"{path_of(sha256).name}.part"
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.fdopen(os.open(path, flags, 0o600), "r+b")
    except (OSError, ValueError):  # something else lies there, or the digest is none
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Not when its worker has put it into the store, or thrown it away, between the two calls.
        if _is_at(file, path) and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            os.utime(file.fileno())  # young: `workplace` clears away what is old
            return file, path
    except OSError:  # somebody else is at it
        pass
    file.close()
    return None


def _is_at(file: IO[bytes], path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    return False
