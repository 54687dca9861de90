"""What a job child does to itself before it opens a model: bounds, no network, no life after its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from types import FrameType
from typing import NoReturn

_PR_SET_PDEATHSIG = 1
_GRACE_S = 5


class CpuLimitReached(BaseException):
    """The job used all the processor time it was given.

    Raised by a signal in the middle of anything, so no `except Exception` on the way may take it for its
    own failure.
    """


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends (Linux; elsewhere the worker's own kill must
    do)."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have ended before the call above; then no signal will ever come.
    if os.getppid() != parent_pid:
        os._exit(1)


def apply_limits(*, memory_mb: int | None, cpu_s: int | None) -> None:
    """Bound this process's private memory (MiB) and processor time (s); core dumps off.

    RLIMIT_DATA, not RLIMIT_AS: address space that is reserved or mapped from a file is no memory, and torch
    with CUDA reserves more of it than any machine has. At `cpu_s` CpuLimitReached is raised; `_GRACE_S`
    later the kernel kills.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_mb is not None:
        _lower(resource.RLIMIT_DATA, memory_mb * 1024 * 1024)
    if cpu_s is not None:
        signal.signal(signal.SIGXCPU, _on_cpu_limit)
        _lower(resource.RLIMIT_CPU, cpu_s, hard=cpu_s + _GRACE_S)


def _lower(kind: int, soft: int, *, hard: int | None = None) -> None:
    """Set a limit, never above a hard limit that is already there."""
    ceiling = resource.getrlimit(kind)[1]
    wanted = hard if hard is not None else soft
    top = wanted if ceiling == resource.RLIM_INFINITY else min(wanted, ceiling)
    with contextlib.suppress(ValueError):  # A stricter limit is in force already.
        resource.setrlimit(kind, (min(soft, top), top))


def _on_cpu_limit(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise CpuLimitReached
