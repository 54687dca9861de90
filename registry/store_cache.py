"""Keeps the folder of verified copies below its size: the least recently used go first, those in use now never."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from django.conf import settings

# A path that was just handed to the front server or to a child is opened within this time.
IN_USE_S = 300
_noted: dict[Path, float] = {}


def used(root: Path, sha256: str) -> None:
    """Notes the use beside the copy: changing the copy's own times would make every reader hash it again."""
    mark = root / "used" / sha256
    if time.monotonic() - _noted.get(mark, -IN_USE_S) < IN_USE_S / 10 and mark.exists():
        return
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.touch()
    os.utime(mark)
    _noted[mark] = time.monotonic()


def shrink(root: Path) -> int:
    """Deletes copies until the folder fits; returns how many. Whoever has one open keeps reading it."""
    found, total = [], 0
    for path in root.glob("[0-9a-f][0-9a-f]/[0-9a-f][0-9a-f]/*"):
        with contextlib.suppress(FileNotFoundError):
            size = path.lstat().st_size
            total += size
            found.append((_last_use(root, path), size, path))
    deleted, now = 0, time.time()
    for last, size, path in sorted(found):
        if total <= settings.STORE_CACHE_BYTES or now - last < IN_USE_S:
            break
        path.unlink(missing_ok=True)
        (root / "used" / path.name).unlink(missing_ok=True)
        total -= size
        deleted += 1
    return deleted


def _last_use(root: Path, path: Path) -> float:
    try:
        return (root / "used" / path.name).stat().st_mtime
    except FileNotFoundError:
        return path.lstat().st_mtime
