"""Starts processes, sees that they live, and ends every one of them: the embedded set-up's own small init.

Each process leads a session of its own, so that a signal reaches it with everything it started and Ctrl-C in the terminal
reaches only us. On Linux the kernel ends them when we are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config.log_files import set_aside

GRACE_S = 25.0
TAIL_LINES = 25
_PR_SET_PDEATHSIG = 1


class ProcessDied(RuntimeError):
    """A process ended that should go on; the message holds its last words."""


class NotReady(RuntimeError):
    """A process did not become ready in time; the message holds its last words."""


@dataclass
class Child:
    """One started process. `log_start` is where this run begins in its log file (bytes)."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    log_start: int
    started: float = field(default_factory=time.monotonic)

    @property
    def pid(self) -> int:
        return self.popen.pid

    def written(self) -> str:
        """What this run has logged so far."""
        with contextlib.suppress(OSError), self.log.open("rb") as file:
            file.seek(self.log_start)
            return file.read().decode("utf-8", "replace")
        return ""

    def last_words(self) -> str:
        lines = self.written().splitlines()[-TAIL_LINES:]
        return "\n".join(f"    {line}" for line in lines) or "    (it wrote nothing)"


class Supervisor:
    """Owns its children until `stop`. Not thread-safe: one thread starts, checks and stops."""

    def __init__(self, logs: Path, *, most_log_bytes: int = 0) -> None:
        self.logs, self.most_log_bytes = logs, most_log_bytes
        self.children: dict[str, Child] = {}
        logs.mkdir(parents=True, exist_ok=True)

    def start(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> Child:
        """Starts a process that should go on until `stop`; its output goes to `<logs>/<name>.log`."""
        log = self.logs / f"{name}.log"
        set_aside(log, self.most_log_bytes)
        with log.open("ab") as output:
            start = output.tell()
            popen = subprocess.Popen(
                list(argv),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent(os.getpid()),
            )
        self.children[name] = Child(name, popen, log, start)
        return self.children[name]

    def once(
        self, name: str, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, timeout_s: float = 600
    ) -> str:
        """Runs a process to its end and returns its stdout; stderr goes to its log. Raises ProcessDied."""
        log = self.logs / f"{name}.log"
        set_aside(log, self.most_log_bytes)
        with log.open("ab") as errors:
            start = errors.tell()
            popen = subprocess.Popen(
                list(argv),
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                preexec_fn=_end_with_parent(os.getpid()),
            )
        child = Child(name, popen, log, start)
        try:
            output, _ = popen.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise ProcessDied(f"{name} did not finish in {timeout_s:.0f} s:\n{child.last_words()}") from None
        finally:
            if popen.poll() is None:  # too late, or we were interrupted
                _signal(child, signal.SIGKILL)
                popen.wait()
                assert popen.stdout is not None
                popen.stdout.close()
        if popen.returncode != 0:
            raise ProcessDied(f"{name} {_ending(popen.returncode)}. Its last words:\n{child.last_words()}")
        return output.decode("utf-8", "replace")

    def check(self) -> None:
        """Raises ProcessDied when one of the children has ended. Sets logs aside that have grown too large."""
        for child in self.children.values():
            if set_aside(child.log, self.most_log_bytes):
                child.log_start = 0
            code = child.popen.poll()
            if code is not None:
                raise ProcessDied(
                    f"{child.name} {_ending(code)} after {time.monotonic() - child.started:.0f} s. "
                    f"The end of {child.log}:\n{child.last_words()}"
                )

    def wait_until(self, name: str, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Asks `ready` until it says yes. Raises ProcessDied (any child), NotReady."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                child = self.children[name]
                raise NotReady(
                    f"{name} was not ready after {timeout_s:.0f} s. The end of {child.log}:\n{child.last_words()}"
                )
            time.sleep(0.1)

    def pids(self) -> dict[str, int]:
        return {name: child.pid for name, child in self.children.items()}

    def stop(self, *, last: Sequence[str] = (), grace_s: float = GRACE_S) -> list[str]:
        """Ends all children: TERM, then KILL to what is left of each group. `last` (the broker) end after the others.

        A second Ctrl-C meanwhile means KILL at once. Returns the names of those that had to be killed.
        """
        impatient = False

        def hurry(number: int, frame: object) -> None:
            nonlocal impatient
            impatient = True

        before = {number: signal.signal(number, hurry) for number in (signal.SIGINT, signal.SIGTERM)}
        killed: list[str] = []
        try:
            early = [child for name, child in self.children.items() if name not in last]
            late = [child for name, child in self.children.items() if name in last]
            for group in (early, late):
                for child in group:
                    if child.popen.poll() is None:
                        _signal(child, signal.SIGTERM)
                deadline = time.monotonic() + grace_s
                while (
                    any(c.popen.poll() is None for c in group)
                    and time.monotonic() < deadline
                    and not impatient
                ):
                    time.sleep(0.05)
                killed += [child.name for child in group if child.popen.poll() is None]
                for child in group:
                    # Also when the leader has ended: it may have left a child of its own behind.
                    _signal(child, signal.SIGKILL)
                    child.popen.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        self.children.clear()
        return killed


def _signal(child: Child, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _ending(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _end_with_parent(parent: int) -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(
        None, use_errno=True
    )  # loaded here: between fork and exec as little as possible may happen

    def arrange() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it ended before the call above; no signal would ever come
            os._exit(1)

    return arrange
