"""Model code runs here and nowhere else in the control plane: in a child process that the worker starts and watches.

The child gets a clean environment (no secrets, offline, no remote code), limits on time and memory, and speaks JSON lines
on its stdout. Its last words (stderr) are kept when it dies.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from inference.machine import alone
from registry import store
from registry.exceptions import JobFailed
from registry.jobs import Running
from registry.models import Revision

# What a child may know of its parent's environment. Everything else stays outside.
PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "TMPDIR")


def environment(home: Path) -> dict[str, str]:
    """The child's whole environment."""
    return {
        **{name: os.environ[name] for name in PASSED_ON if name in os.environ},
        "HOME": str(home),
        "HF_HOME": str(home / "hf"),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": str(settings.BASE_DIR),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


@dataclass(frozen=True)
class Order:
    """One job for a child: what it reads, and its bounds (`None`: no bound on memory).

    `limit_names` is the setting that a person raises when time runs out; with `tell` the run's page shows the child's steps.
    """

    kind: str
    snapshot: Path
    model_id: str
    commit_sha: str
    params: dict[str, Any]
    memory_mb: int | None
    cpu_s: int
    timeout_s: int
    limit_names: str = "ASSAY_JOB_TIMEOUT_S"
    tell: bool = True

    def as_json(self) -> bytes:
        return json.dumps(
            {
                "kind": self.kind,
                "snapshot": str(self.snapshot),
                "model_id": self.model_id,
                "commit_sha": self.commit_sha,
                "limits": {"memory_mb": self.memory_mb, "cpu_s": self.cpu_s},
                "params": self.params,
            }
        ).encode()


def run_child(running: Running, revision: Revision, kind: str, params: dict[str, Any]) -> dict[str, Any]:
    """Runs one job kind of `inference.engine.child` on the revision's verified snapshot; returns its result.

    Raises JobFailed with the child's sentence (or with how it died), LeaseLost, JobCancelled.
    """
    running.step("verify files")
    quarantined = set(revision.facts.get("formats", {}).get("quarantined", []))
    rows = revision.files.select_related("blob")
    files = [
        (f.path, f.blob_id, f.blob.size)
        for f in rows
        if f.path not in quarantined and not f.path.endswith(".py")
    ]
    with store.snapshot(files) as snapshot:
        home = snapshot.parent / f"{snapshot.name}-home"
        home.mkdir()
        try:
            order = Order(
                kind=kind,
                snapshot=snapshot,
                model_id=revision.model.model_id,
                commit_sha=revision.commit_sha,
                params=params,
                memory_mb=settings.CHILD_MEMORY_MB or None,
                cpu_s=settings.JOB_TIMEOUT_S,
                timeout_s=settings.JOB_TIMEOUT_S,
            )
            with alone(running):
                return run_order(running, order, home)
        finally:
            shutil.rmtree(home, ignore_errors=True)


def run_order(running: Running, order: Order, home: Path) -> dict[str, Any]:
    """Starts a child for the order, with `home` as its own folder; returns its result. Raises as `run_child` does."""
    process = subprocess.Popen(
        [sys.executable, "-m", "inference.engine.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(home),
        cwd=settings.BASE_DIR,
        start_new_session=True,  # its own process group, so that it can be ended with everything it started
    )
    assert process.stdin and process.stdout and process.stderr
    lines: queue.Queue[bytes | None] = queue.Queue()
    readers = [
        threading.Thread(target=_pump, args=(process.stdout, lines.put), daemon=True),
        threading.Thread(target=_keep, args=(process.stderr, running.log), daemon=True),
    ]
    for reader in readers:
        reader.start()
    try:
        process.stdin.write(order.as_json())
        process.stdin.close()
        result = _follow(running, order, lines)
        process.wait(timeout=30)
        for reader in readers:
            reader.join(timeout=5)
        if result is None:
            raise JobFailed(_how_it_died(process.returncode, running.log), code="child_died")
        return result
    finally:
        if process.poll() is None:
            _end(process)
        process.stdout.close()
        process.stderr.close()


def _pump(stream: IO[bytes], put: Any) -> None:
    for line in stream:
        put(line)
    put(None)


def _keep(stream: IO[bytes], log: list[str]) -> None:
    for line in stream:
        log.append(line.decode("utf-8", "replace").rstrip()[:500])
        del log[:-200]


def _events(running: Running, order: Order, lines: queue.Queue[bytes | None]) -> Iterator[dict[str, Any]]:
    deadline = time.monotonic() + order.timeout_s
    while True:
        running.check()
        if time.monotonic() > deadline:  # asked in every turn: a child that never falls silent must end, too
            raise JobFailed(
                f"It did not finish within {order.timeout_s} seconds (setting {order.limit_names}) and was ended.",
                code="timed_out",
            )
        try:
            line = lines.get(timeout=0.5)
        except queue.Empty:
            continue
        if line is None:
            return
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a library printed something; only our own events count
        if isinstance(event, dict):
            yield event


def _follow(running: Running, order: Order, lines: queue.Queue[bytes | None]) -> dict[str, Any] | None:
    result: dict[str, Any] | None = None
    for event in _events(running, order, lines):
        if event.get("event") == "progress" and order.tell:
            running.step(str(event.get("step"))[:60], int(event.get("done", 0)), int(event.get("total", 0)))
        elif event.get("event") == "result":
            result = event["result"]
        elif event.get("event") == "error":
            raise JobFailed(str(event.get("message"))[:1000], code=str(event.get("code"))[:60])
    return result


def _how_it_died(code: int | None, log: list[str]) -> str:
    last = next((line for line in reversed(log) if line.strip()), "")
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        cause = "it was killed, most likely for memory" if name == "SIGKILL" else f"it was ended by {name}"
        return f"The model process died ({cause}). Its last words: {last or 'none'}"
    return f"The model process ended with code {code} and no result. Its last words: {last or 'none'}"


def _end(process: subprocess.Popen[bytes]) -> None:
    for step in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, step)
            process.wait(timeout=5)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return
