"""One measuring job in a process of its own: `python -m inference.engine.child`, one JSON object on stdin.

Progress, then exactly one result or error, go to stdout as JSON lines; stderr is the log. Exit 0 with a
result, 1 with an error, 2 when it refuses to begin. No event and no log line ever holds a text of the job.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

from inference.engine.containment import CpuLimitReached, apply_limits, die_with_parent
from inference.engine.errors import (
    InferenceError,
    InferenceInputError,
    ModelLoadError,
    describe_error,
    ran_out_of_memory,
)
from inference.engine.jobs.task import JobError, Task

_STARTED = time.monotonic()
_PARENT = os.getppid()
# The job's module is imported only after the limits are in force, because it imports torch.
_JOBS = {
    "benchmark": ("inference.engine.jobs.benchmark", "run_benchmark"),
    "evaluation": ("inference.engine.jobs.evaluation", "run_evaluation"),
    "tokenizer_facts": ("inference.engine.jobs.tokenizer_facts", "run_tokenizer_facts"),
}
_FIELDS = {"kind", "snapshot", "model_id", "commit_sha", "limits", "params"}

logger = logging.getLogger("inference.engine.child")


def main() -> int:
    """Read the job, run it, write its events. Returns the exit status."""
    events = _claim_stdout()
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    # One line for each batch would drown the log of a benchmark.
    logging.getLogger("inference.engine.classifier").setLevel(logging.WARNING)
    die_with_parent(_PARENT)
    return run_job(sys.stdin.buffer.read(), lambda event: _emit(events, event), contain=apply_limits)


def run_job(raw: bytes, emit: Callable[[dict[str, Any]], None], *, contain: Callable[..., None]) -> int:
    """Check the job, bound this process with `contain`, run it, emit its events. Returns the exit status."""
    if os.environ.get("HF_HUB_OFFLINE") != "1":
        emit(_error("not_offline", "Set HF_HUB_OFFLINE=1: a job may only read its local snapshot."))
        return 2
    try:
        task, limits = _read_task(raw)
    except JobError as exc:
        emit(_error(exc.code, str(exc)))
        return 2
    contain(**limits)
    event = _run(task, lambda step, done, total: emit(_progress(step, done, total)))
    emit(event)
    return 0 if event["event"] == "result" else 1


def _run(task: Task, progress: Callable[[str, int, int], None]) -> dict[str, Any]:
    try:
        module, function = _JOBS[task.kind]
        return {"event": "result", "result": getattr(import_module(module), function)(task, progress)}
    except (JobError, ModelLoadError, InferenceInputError, InferenceError) as exc:
        logger.error("job failed: %s", describe_error(exc))
        if isinstance(exc, InferenceError | ModelLoadError) and ran_out_of_memory(exc.__cause__):
            return _memory_error(task)
        return _error(exc.code, str(exc))
    except CpuLimitReached:
        return _error("cpu_limit", f"The {task.kind} used all the processor time it was given.")
    except Exception as exc:
        logger.error("job failed: %s", describe_error(exc))
        if ran_out_of_memory(exc):
            return _memory_error(task)
        # Without the message: it may quote an input.
        return _error(
            "internal", f"The {task.kind} failed unexpectedly ({type(exc).__name__}); see the job's log."
        )


def _read_task(raw: bytes) -> tuple[Task, dict[str, int | None]]:
    """The job and its limits. Raises JobError (bad_request)."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise JobError("bad_request", "stdin is not one JSON object.") from None
    if not isinstance(body, dict) or not body.keys() <= _FIELDS or body.get("kind") not in _JOBS:
        raise JobError(
            "bad_request", f"The job must be an object with a kind among {', '.join(sorted(_JOBS))}."
        )
    names = [body.get(name) for name in ("snapshot", "model_id", "commit_sha")]
    params, limits = body.get("params", {}), body.get("limits") or {}
    if not all(isinstance(name, str) and name for name in names):
        raise JobError("bad_request", "snapshot, model_id and commit_sha must be strings.")
    if not isinstance(params, dict) or not isinstance(limits, dict):
        raise JobError("bad_request", "params and limits must be objects.")
    task = Task(body["kind"], Path(body["snapshot"]), body["model_id"], body["commit_sha"], params, _STARTED)
    return task, {name: _limit(limits, name) for name in ("memory_mb", "cpu_s")}


def _limit(limits: dict[str, Any], name: str) -> int | None:
    value = limits.get(name)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise JobError("bad_request", f"The limit {name} must be a whole number from 1, or null.")
    return value


def _memory_error(task: Task) -> dict[str, Any]:
    return _error("memory_limit", f"The {task.kind} needed more memory than it was given.")


def _progress(step: str, done: int, total: int) -> dict[str, Any]:
    return {"event": "progress", "step": step, "done": done, "total": total}


def _error(code: str, message: str) -> dict[str, Any]:
    return {"event": "error", "code": code, "message": message}


def _emit(events: TextIO, event: dict[str, Any]) -> None:
    print(json.dumps(event, ensure_ascii=False, allow_nan=False), file=events, flush=True)


def _claim_stdout() -> TextIO:
    """Keep stdout for events alone: whatever a library prints goes to stderr from here on."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


if __name__ == "__main__":
    sys.exit(main())
