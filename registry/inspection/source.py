"""A file of the revision as the inspectors see it: bytes on disk under another name, read in bounded pieces."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from registry.inspection.documents import BadDocument

TAIL_BYTES = 65_536 + 22  # as far from the end as a zip's last record may begin


@dataclass(frozen=True)
class SourceFile:
    """`path` is the name in the repository, `blob` where its verified bytes lie."""

    path: str
    blob: Path
    size: int
    sha256: str

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1].lower()

    @property
    def folder(self) -> str:
        """Folder in the repository with a slash at its end, "" at the top."""
        return self.path[: self.path.rfind("/") + 1]

    def open(self) -> IO[bytes]:
        return os.fdopen(os.open(self.blob, os.O_RDONLY | os.O_NOFOLLOW), "rb")

    def head(self, length: int) -> bytes:
        with self.open() as file:
            return file.read(length)

    def tail(self) -> bytes:
        with self.open() as file:
            file.seek(max(0, self.size - TAIL_BYTES))
            return file.read(TAIL_BYTES)

    def read(self, limit: int) -> bytes:
        """The whole file. Raises BadDocument when it is larger than `limit` bytes."""
        if self.size > limit:
            raise BadDocument(f"{self.path} has {self.size} bytes; at most {limit} are read.")
        with self.open() as file:
            return file.read()
