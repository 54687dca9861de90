"""What the figures of a run were measured on: hardware, versions, memory."""

from __future__ import annotations

import platform
import resource
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from inference.engine.cores import usable_cores

_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "numpy")
_MIB = 1024 * 1024


def hardware(device: str) -> dict[str, Any]:
    """{"cpu": name, "cores": usable cores, "device": cpu | mps | cuda: name, "ram_mb": int | None}."""
    return {"cpu": _cpu_name(), "cores": usable_cores(), "device": _device_name(device), "ram_mb": _ram_mb()}


def versions() -> dict[str, str]:
    """Versions of Python and of every package that the numbers depend on."""
    return {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}}


def max_rss_mb() -> float:
    """The most memory this process held, MiB.

    On Linux from VmHWM: ru_maxrss survives exec, so a child of a large worker would report the worker's.
    """
    for line in _lines("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return round(int(line.split()[1]) / 1024, 1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (_MIB if sys.platform == "darwin" else 1024), 1)


def max_vram_mb() -> float | None:
    """The most memory torch took from the GPU, MiB; None without one."""
    import torch

    return round(torch.cuda.max_memory_reserved() / _MIB, 1) if torch.cuda.is_available() else None


def _device_name(device: str) -> str:
    if device != "cuda":
        return device
    import torch

    return f"cuda: {torch.cuda.get_device_name()}"


def _cpu_name() -> str:
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _ram_mb() -> int | None:
    for line in _lines("/proc/meminfo"):
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) // 1024
    return None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
