"""Secrets in files: written whole, readable by their owner only. No Django here."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_secret(path: Path, secret: str) -> None:
    """Writes the file whole; no moment at which others could read it (mkstemp's mode is 0600). Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{secret}\n")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
