"""Servers under measurement: started, waited for, frozen while another is measured, ended with all their children."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.server.running import free_port

__all__ = ["Server", "StartError", "free_port", "start"]


class StartError(RuntimeError):
    """A server that did not answer; the sentence has the end of its log."""


@dataclass
class Server:
    """A running server. `start_s`: from the start of its process to its first 200 for a text."""

    name: str
    url: str
    process: subprocess.Popen[bytes]
    start_s: float

    def family(self) -> list[psutil.Process]:
        """The process and all its children: some servers give their workers a process group of their own."""
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _signal(self, number: int) -> None:
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def freeze(self) -> None:
        """Nothing of it runs until `thaw`: an idle server's threads would still spin beside the measured one."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def settle(self, patience_s: float = 90) -> None:
        """Wait until it is idle: what a client no longer waits for is still being computed, and would be counted against
        the next window (or run beside another server's).

        Raises RuntimeError when it is busy for longer.
        """
        last, quiet, began = self._cpu_s(), 0, time.monotonic()
        while quiet < 3:
            if time.monotonic() - began > patience_s:
                raise RuntimeError(f"{self.name} is still busy {patience_s:g} s after its load ended.")
            time.sleep(0.2)
            now = self._cpu_s()
            # Computing takes a whole core; some servers poll with a tenth of one while nobody asks.
            quiet, last = (quiet + 1 if now - last < 0.1 else 0), now

    def _cpu_s(self) -> float:
        total = 0.0
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def memory_mb(self) -> float:
        """Proportional set size of all its processes: shared pages are counted once."""
        total = 0
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_full_info().pss
        return round(total / 2**20, 1)

    def stop(self) -> None:
        family = self.family()
        self.thaw()
        self.process.terminate()
        _, alive = psutil.wait_procs(family, timeout=10)
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()


def start(
    name: str,
    command: Sequence[str],
    url: str,
    body: bytes,
    *,
    headers: Mapping[str, str],
    environment: Mapping[str, str],
    log: Path,
    patience_s: float = 90,
) -> Server:
    """Starts `command` in a process group of its own and posts `body` to `url` until it answers 200.

    Raises StartError when it ends or does not answer within `patience_s`.
    """
    began = time.monotonic()
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    server = Server(name, url, process, 0.0)
    last = "no answer"
    while time.monotonic() - began < patience_s:
        if process.poll() is not None:
            break
        try:
            request = urllib.request.Request(url, body, dict(headers))
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
                server.start_s = round(time.monotonic() - began, 2)
                return server
        except urllib.error.HTTPError as refusal:
            last = f"HTTP {refusal.code}: {refusal.read()[:200]!r}"
        except OSError as error:
            last = str(error)
        time.sleep(0.02)
    server.stop()
    tail = log.read_text(errors="replace").strip().splitlines()[-3:]
    raise StartError(f"{name} did not start ({last}): {' / '.join(tail)[-400:]}")
