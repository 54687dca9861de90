"""A revision's files as paths that a child process may open, and which names may become paths at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from registry.exceptions import InvalidInput
from registry.store.folder import CHUNK, path_of, workplace
from registry.store.reading import open_blob, verified
from registry.words import gettext


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
            gettext(
                "The repository lists a file name that is not allowed: %(path)r. Nothing was downloaded.",
                path=path[:80],
            ),
            code="unsafe_path",
        )
    return path


@contextmanager
def local_paths(sha256s: Iterable[str]) -> Iterator[dict[str, Path]]:
    """Paths that a child process may open while this lasts: links of its own, where copies may be evicted meanwhile."""
    if not settings.STORE_S3:
        wanted = set(sha256s)
        for sha256 in wanted:
            open_blob(sha256).close()
        yield {sha256: path_of(sha256) for sha256 in wanted}
        return
    with tempfile.TemporaryDirectory(dir=workplace("snapshots")) as name:
        held = {}
        for sha256 in set(sha256s):
            open_blob(sha256).close()
            held[sha256] = Path(name) / sha256
            os.link(path_of(sha256), held[sha256])
        yield held


@contextmanager
def snapshot(files: Iterable[tuple[str, str, int]]) -> Iterator[Path]:
    """A temporary folder with a revision's files, copied from re-hashed bytes; `files` = (path, sha256, size)."""
    folder = workplace("snapshots")
    with tempfile.TemporaryDirectory(dir=folder) as name:
        base = Path(name)
        for path, sha256, size in files:
            target = base / safe_path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            with verified(sha256, size) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy, CHUNK)
        yield base
