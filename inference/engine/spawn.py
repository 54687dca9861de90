"""Starts the processes that compute, and keeps one ready for the first model.

Importing torch takes longer than anything else at a start, so a server begins with it: `prepare` starts a process that imports
and then waits for a configuration, while the caller imports what it needs itself and verifies files. Nothing heavy is
imported here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from inference.engine.cores import usable_cores

# A process that nobody gave a model to ends by itself (it holds some 200 MB); one that is about to is not taken.
SPARE_S = 60.0
_FRESH_S = 45.0
# A process of its own needs some 20 MB, under load up to 100.
_MOST_PROCESSES = 16
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "TMPDIR", "HOME")

_spares: dict[tuple[int, int], Started] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Started:
    """A process and our end of the connection of each of its lanes."""

    child: subprocess.Popen[bytes]
    ends: Sequence[Connection[Any, Any]]
    born: float = field(default_factory=time.monotonic)


def lanes_for(threads: int | None = None, layout: str = "") -> tuple[int, int]:
    """(processes, the most threads of one). `latency`: one process with all cores, so that a lone text is answered soonest;
    `throughput`: one a core, which wait for nobody; `adaptive`: one a core, of which the first takes all cores while it is
    alone: the default, but on machines of so many cores that the processes' own memory would be more than the model's."""
    cores = threads or usable_cores()
    match layout or ("adaptive" if cores <= _MOST_PROCESSES else "latency"):
        case "latency":
            return 1, cores
        case "throughput":
            return cores, 1
        case _:
            return cores, cores


def prepare(layout: str = "") -> None:
    """Start the process that the next `take` for this layout will get."""
    shape = lanes_for(layout=layout)
    with _lock:
        if shape not in _spares:
            _spares[shape] = start(*shape)


def take(lanes: int, threads: int) -> Started:
    """A process for so many lanes: the one prepared, else a new one."""
    with _lock:
        spare = _spares.pop((lanes, threads), None)
    if spare is not None:
        if time.monotonic() - spare.born < _FRESH_S and spare.child.poll() is None:
            return spare
        end(spare)
    return start(lanes, threads)


def start(lanes: int, threads: int) -> Started:
    ours, theirs = zip(*(Pipe() for _ in range(lanes)), strict=True)
    child = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "inference.engine.process_child",
            *(str(end.fileno()) for end in theirs),
        ],
        pass_fds=[end.fileno() for end in theirs],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        cwd=Path(__file__).parents[2],
        env=_environment(threads),
    )
    for end_ in theirs:
        end_.close()
    return Started(child, ours)


def end(started: Started) -> None:
    """Close its connections; a process that waits for its configuration ends then."""
    for connection in started.ends:
        connection.close()
    try:
        started.child.wait(5)
    except subprocess.TimeoutExpired:
        started.child.kill()
        started.child.wait()


def _environment(threads: int) -> dict[str, str]:
    """No secrets, no network token."""
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return {**kept, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads)}
