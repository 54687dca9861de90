"""One measurement at a time on one machine: two that share its cores measure each other.

An advisory lock on a file of the data folder. It belongs to the worker's process, so it ends with it, however that ends.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings

from registry.jobs import Running

POLL_S = 0.3


@contextmanager
def alone(running: Running) -> Iterator[None]:
    """Waits until no other measurement runs here. Raises JobCancelled or LeaseLost while it waits."""
    settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
    with (settings.DATA_DIR / "measuring.lock").open("a") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                running.step("wait for another measurement on this machine")
                time.sleep(POLL_S)
        yield
