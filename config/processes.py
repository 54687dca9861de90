"""The processes of an installation, each with its command: the launcher starts these, docker-compose.yml names the same
ones (a test compares), the documentation shows them.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """`command` may hold {host}, {port} and {data}. `once` ends by itself and must have ended well before services start."""

    name: str
    command: tuple[str, ...]
    help: str
    once: bool = False
    health: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


PROCESSES: dict[str, Process] = {
    process.name: process
    for process in (
        Process(
            "migrate",
            _words("python manage.py migrate --noinput"),
            "Brings the database to this version, with its rules (triggers).",
            once=True,
        ),
        Process(
            "static",
            _words("python manage.py collectstatic --noinput"),
            "Collects static files. Production only: the embedded set-up serves them where they lie.",
            once=True,
        ),
        Process(
            "service-account",
            _words("python manage.py service_account --token-file {data}/tokens/inference"),
            "The inference server's account and token; renews it before it ends.",
            once=True,
        ),
        Process(
            "web",
            _words(
                "granian --interface wsgi config.wsgi:application --host {host} --port {port} --workers 2 "
                "--blocking-threads 4 --no-access-log --no-ws --respawn-failed-workers"
            ),
            "Pages and API.",
            health="/healthz",
        ),
        Process(
            "worker",
            _words("celery -A config worker -Q short,cpu --concurrency 3 --loglevel INFO"),
            "Intake, benchmarks and evaluations; model code runs in children of it.",
            # TERM would wait for the longest job; this gives it the soft shutdown's time, then it runs again.
            env={"REMAP_SIGTERM": "SIGQUIT"},
        ),
        Process(
            "beat",
            _words("celery -A config beat --schedule {data}/beat/schedule --pidfile= --loglevel INFO"),
            "The clock: rings for lost jobs and expired approvals. Run one.",
        ),
        Process(
            "inference",
            _words("python -m inference.server --host {host} --port {port}"),
            "Serves what the channels point at. Run as many as you need.",
            health="/healthz",
        ),
    )
}


def words(name: str, *, host: str = "127.0.0.1", port: int = 0, data: Path | str = "var") -> list[str]:
    """The command as a person would type it in an activated environment."""
    return [word.format(host=host, port=port, data=data) for word in PROCESSES[name].command]


def argv(name: str, *, host: str = "127.0.0.1", port: int = 0, data: Path | str = "var") -> list[str]:
    """The command with its program found beside this interpreter, whatever PATH says. Raises FileNotFoundError."""
    program, *rest = words(name, host=host, port=port, data=data)
    return [sys.executable if program == "python" else find_program(program), *rest]


def find_program(name: str) -> str:
    """A program of this Python environment, else of PATH. Raises FileNotFoundError with the cure."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.is_file() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is neither beside {sys.executable} nor in PATH. Run `make setup`.")
    return found
