"""`python -m registry.inspection.child`: the inspectors in a process of their own, with bounds on time and memory.

Reads one JSON order on stdin, writes one JSON line on stdout: {"result": {...}} or {"refused": {"code", "message"}}.
Knows nothing of Django, of the database or of any secret; a crash here costs one intake.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any

from registry.exceptions import DomainError

MEMORY_BYTES = 2 * 1024**3
CPU_S = 120
MAX_RESULT_BYTES = 64 * 1024 * 1024
_PR_SET_PDEATHSIG = 1


def confine(memory_bytes: int, cpu_s: int) -> None:
    """Address space in bytes, processor time in seconds, no core dump, no written file, no life after the parent."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CPU, cpu_s)
    _limit(resource.RLIMIT_FSIZE, 0)
    if sys.platform.startswith("linux"):
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    top = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (top, top))


def answer(order: dict[str, Any]) -> dict[str, Any]:
    """The result, or the sentence why this revision is not taken."""
    from registry.inspection.run import inspect_revision  # after the limits: its tables count, too

    try:
        return {"result": inspect_revision(order)}
    except DomainError as error:
        return {"refused": {"code": error.code, "message": error.message}}


def main() -> int:
    order = json.loads(sys.stdin.buffer.read())
    limits = order.get("limits") or {}
    confine(int(limits.get("memory_bytes") or MEMORY_BYTES), int(limits.get("cpu_s") or CPU_S))
    try:
        said = json.dumps(answer(order), ensure_ascii=True, allow_nan=False)
    except MemoryError:
        sys.stderr.write("out of memory\n")
        return 3
    if len(said) > MAX_RESULT_BYTES:
        sys.stderr.write("the result is too large\n")
        return 4
    sys.stdout.write(said + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
