"""Log files of the embedded set-up: set aside when they are large, a few old ones kept."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

KEPT = 3


def set_aside(log: Path, most_bytes: int) -> bool:
    """Copies a log over `most_bytes` to `<name>.log.1` (older ones move on to .2 and .3) and empties it; 0 means never.

    Copied, not renamed: the process that writes holds the file open, appending, and goes on at its new beginning. What it
    writes in between is lost; these are logs.
    """
    try:
        if not most_bytes or log.stat().st_size <= most_bytes:
            return False
        for number in range(KEPT, 1, -1):
            with contextlib.suppress(FileNotFoundError):
                log.with_name(f"{log.name}.{number - 1}").replace(log.with_name(f"{log.name}.{number}"))
        shutil.copyfile(log, log.with_name(f"{log.name}.1"))
        with log.open("r+b") as file:
            file.truncate(0)
    except OSError:
        return False  # a full disk must not end the services; the next look tries again
    return True
