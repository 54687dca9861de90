"""How many cores this process may use. A container with a limit sees all of its host's, and gets a part of their time."""

from __future__ import annotations

import math
import os
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")


def usable_cores(groups: Path = _GROUPS, member: Path = Path("/proc/self/cgroup")) -> int:
    """Those that the affinity mask allows, but no more than the control group's quota, rounded up. (Linux's
    Documentation/admin-guide/cgroup-v2.rst, cpu.max; cgroup-v1's cpu.cfs_quota_us.)"""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _folders(groups, member) if (quota := _quota(folder)) is not None]
    return max(1, min([cores, *map(math.ceil, quotas)]))


def _folders(groups: Path, member: Path) -> list[Path]:
    """Our group's, and those above it: each may set a limit."""
    found = [groups, groups / "cpu"]
    for line in _read(member).splitlines():
        number, _, path = line.partition(":")
        if number == "0" and path.startswith(":/"):
            parts = [part for part in path[2:].split("/") if part not in ("", "..")]
            found += [groups.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1)]
    return found


def _quota(folder: Path) -> float | None:
    """In cores; None for no limit."""
    quota, _, period = _read(folder / "cpu.max").strip().partition(" ")
    if not quota:
        quota, period = (_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    try:
        cores = int(quota) / int(period)
    except (ValueError, ZeroDivisionError):
        return None
    return cores if cores > 0 else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
