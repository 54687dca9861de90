"""Starts the inspectors' child process and waits for its one answer, for so long and no longer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from registry import store
from registry.exceptions import InvalidInput, JobFailed
from registry.inspection.findings import Finding, Severity

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


@dataclass
class Content:
    """What the inspectors made of a revision."""

    card_text: str = ""
    card_data: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    label_mapping: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[dict[str, Any]] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    remote_code_sha256: str | None = None

    def say(self, severity: Severity, path: str, message: str, advice: str = "") -> None:
        """A finding of the worker itself, which asked the Hub something."""
        self.findings.append(Finding(severity, path, message, advice).as_dict())


def environment() -> dict[str, str]:
    """The child's whole environment: where Python and this project lie, and nothing that is secret."""
    return {
        **{name: os.environ[name] for name in _PASSED_ON if name in os.environ},
        "PYTHONPATH": str(settings.BASE_DIR),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONSAFEPATH": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }


def inspect_in_child(
    model_id: str, files: dict[str, tuple[str, int]], approved_labels: dict[str, str] | None
) -> Content:
    """What `registry.inspection.run` makes of stored blobs; `files` = path -> (sha256, size in bytes).

    Raises InvalidInput with the inspectors' sentence, JobFailed when the child crashed or met a limit, and
    IntegrityFailure when a blob is not a plain file.
    """
    with store.local_paths(sha256 for sha256, _ in files.values()) as held:
        listed = {
            path: {"blob_path": str(held[sha256]), "size": size, "sha256": sha256}
            for path, (sha256, size) in files.items()
        }
        order = {
            "model_id": model_id,
            "files": listed,
            "approved_labels": approved_labels,
            "limits": {
                "memory_bytes": settings.INSPECTION_MEMORY_MB * 1024 * 1024,
                "cpu_s": settings.INSPECTION_TIMEOUT_S,
            },
        }
        said = _ask(json.dumps(order).encode())
    if "refused" in said:
        raise InvalidInput(str(said["refused"]["message"])[:1000], code=str(said["refused"]["code"])[:60])
    result = said.get("result")
    if not isinstance(result, dict):
        raise _failed("it gave no result")
    return Content(**result)


def _ask(order: bytes) -> dict[str, Any]:
    process = subprocess.Popen(
        [sys.executable, "-m", "registry.inspection.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        cwd=settings.BASE_DIR,
        start_new_session=True,
    )
    try:
        # processor time is bounded in the child; this bounds a child that waits instead of working
        out, err = process.communicate(order, timeout=2 * settings.INSPECTION_TIMEOUT_S + 10)
    except subprocess.TimeoutExpired:
        raise _failed("it did not end in time") from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0:
        raise _failed(_how(process.returncode, err))
    try:
        said = json.loads(out)
    except ValueError:
        raise _failed("its answer could not be read") from None
    return said if isinstance(said, dict) else {}


def _how(code: int, err: bytes) -> str:
    if code == -signal.SIGXCPU or code == -signal.SIGKILL:
        return f"it used more than {settings.INSPECTION_TIMEOUT_S} seconds of processor time, or was killed"
    if code == 3 or b"MemoryError" in err:
        return f"it needed more than {settings.INSPECTION_MEMORY_MB} MiB of memory"
    last = err.decode("utf-8", "replace").strip().rsplit("\n", 1)[-1][:300]
    return f"it stopped with code {code}" + (f": {last}" if last else "")


def _failed(how: str) -> JobFailed:
    return JobFailed(
        f"The inspection of this repository failed: {how}. Nothing was kept. Some file of it is built to be hard to read, "
        "or the limits (ASSAY_INSPECTION_TIMEOUT_S, ASSAY_INSPECTION_MEMORY_MB) are too low for its size.",
        code="inspection_failed",
    )
