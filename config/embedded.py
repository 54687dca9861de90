"""The embedded set-up: one machine, one data folder, everything private. Used by `make up` and `make demo`."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

from config import env, private_redis, processes
from config.env import BASE_DIR
from config.supervisor import Supervisor

HOST = "127.0.0.1"
PORTS_TRIED = 100
START_S = 120
WORKER_CONCURRENCY = 2
BROKER = "redis"
# What the inference server must not know: it is a replica that could stand on another machine.
CONTROL_PLANE_ONLY = ("DATABASE_URL", "ASSAY_SECRET_KEY", "ASSAY_BROKER_URL", "HF_TOKEN")

Say = Callable[[str], None]


class Refused(RuntimeError):
    """It cannot start; the message says why and what to do."""


class Port:
    """A free port, and a note on this machine that it is ours from now on, before its server binds it: two launchers that
    start together would else find the same one free and share it in silence, as granian's workers do (SO_REUSEPORT)."""

    def __init__(self, number: int) -> None:
        """Raises OSError when somebody has it."""
        self.number = number
        # SO_REUSEADDR: connections of a server that has just stopped do not count, one that listens does.
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, number))
        folder = Path(tempfile.gettempdir()) / f"assay-ports-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        self._note = (folder / str(number)).open("w", encoding="utf-8")
        try:
            fcntl.flock(self._note, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._note.close()
            raise

    def release(self) -> None:
        self._note.close()


def free_port(preferred: int, used_for: str, say: Say) -> Port:
    """The preferred port, or the next free one (and says so). Raises Refused when there is none near."""
    for number in range(preferred, min(preferred + PORTS_TRIED, 65536)):
        try:
            port = Port(number)
        except OSError:
            continue
        if number != preferred:
            say(f"Port {preferred} is taken, so {used_for} gets {number}.")
        return port
    raise Refused(
        f"No port from {preferred} to {preferred + PORTS_TRIED - 1} is free for {used_for}. Choose another range."
    )


def lock_folder(data: Path) -> IO[str]:
    """Keeps a second launcher away from the same data for as long as the returned file is open. Raises Refused."""
    data.parent.mkdir(parents=True, exist_ok=True)
    file = (data.parent / f".{data.name}.lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        owner = file.read().strip() or "unknown"
        file.close()
        raise Refused(
            f"Another Assay (process {owner}) runs on {data}. Stop it with Ctrl-C first, or set ASSAY_DATA to another folder."
        ) from None
    file.seek(0)
    file.truncate()
    file.write(str(os.getpid()))
    file.flush()
    return file


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


class Embedded:
    """Starts the parts in their order: broker, database, service account, then web, worker, beat and inference."""

    def __init__(
        self, data: Path, base_env: Mapping[str, str], say: Say, *, web_port: int, inference_port: int
    ) -> None:
        self.data, self.say = data, say
        data.mkdir(parents=True, exist_ok=True)
        for folder in ("beat", "tokens", "inference"):
            (data / folder).mkdir(exist_ok=True)
        self.supervisor = Supervisor(data / "logs", most_log_bytes=env.read("ASSAY_LOG_MB") * 1024 * 1024)
        self._ports: list[Port] = []
        self._elsewhere: Path | None = None  # the broker's socket folder, when it is not below the data
        self.web_port = self.claim_port(web_port, "the web")
        self.inference_port = self.claim_port(inference_port, "inference")
        self.env = self._environment(base_env)

    def claim_port(self, preferred: int, used_for: str) -> int:
        port = free_port(preferred, used_for, self.say)
        self._ports.append(port)
        return port.number

    @property
    def web_url(self) -> str:
        return f"http://{HOST}:{self.web_port}"

    @property
    def inference_url(self) -> str:
        return f"http://{HOST}:{self.inference_port}"

    def _environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """What every process of the control plane gets. Addresses that the caller has set are kept (a proxy's)."""
        threads = max(1, (os.cpu_count() or 1) // WORKER_CONCURRENCY)
        no_proxy = ",".join(filter(None, [base.get("NO_PROXY") or base.get("no_proxy"), HOST, "localhost"]))
        return {
            # Model processes run side by side: with more threads than cores they would wait for each other.
            "OMP_NUM_THREADS": str(threads),
            "ASSAY_PUBLIC_URL": self.web_url,
            "ASSAY_INFERENCE_URL": self.inference_url,
            **base,
            "ASSAY_DATA": str(self.data),
            "PYTHONUNBUFFERED": "1",
            "NO_PROXY": no_proxy,
            "no_proxy": no_proxy,
        }

    def run(self, name: str, argv: list[str], **more_env: str) -> str:
        """Runs a command of ours to its end; returns its stdout. Raises ProcessDied."""
        return self.supervisor.once(name, argv, env={**self.env, **more_env}, cwd=BASE_DIR)

    def manage(self, *words: str) -> str:
        return self.run(words[0], [sys.executable, "manage.py", *words])

    def start(self, name: str, *, port: int = 0, env: Mapping[str, str] | None = None) -> None:
        argv = processes.argv(name, host=HOST, port=port, data=self.data)
        self.supervisor.start(
            name, argv, env={**(env or self.env), **processes.PROCESSES[name].env}, cwd=BASE_DIR
        )

    def start_broker(self) -> None:
        """The private Redis, unless ASSAY_BROKER_URL names another. Returns when PING is answered."""
        if self.env.get("ASSAY_BROKER_URL") or self.env.get("ASSAY_BROKER_URL_FILE"):
            self.say("Broker: the one that ASSAY_BROKER_URL names.")
            return
        folder = self.data / "redis"
        socket_file = private_redis.socket_path(folder)
        if socket_file.parent != folder.absolute():
            self._elsewhere = socket_file.parent
            self.say(
                f"The path of {folder} is too long for a unix socket, so the broker's lies in {socket_file.parent}."
            )
            self.env["ASSAY_BROKER_URL"] = f"redis+socket://{socket_file}"
        configuration = private_redis.write_configuration(folder, socket_file)
        argv = [processes.find_program("redis-server"), str(configuration)]
        self.supervisor.start(BROKER, argv, env=self.env, cwd=BASE_DIR)
        self.supervisor.wait_until(BROKER, lambda: private_redis.answers(socket_file), timeout_s=START_S)

    def prepare_database(self) -> None:
        """Migrations and the inference server's account."""
        for name in ("migrate", "service-account"):
            self.run(name, processes.argv(name, data=self.data))

    def start_services(self) -> None:
        """Web, worker, beat and inference; returns when all of them are ready. Raises ProcessDied, NotReady."""
        self.start("web", port=self.web_port)
        self.start("worker")
        self.start("beat")
        self.start("inference", port=self.inference_port, env=self._inference_environment())
        wait = self.supervisor.wait_until
        wait("web", lambda: answers(f"{self.web_url}/healthz"), timeout_s=START_S)
        worker = self.supervisor.children["worker"]
        # The line that Celery's worker writes once it listens to its queues.
        wait("worker", lambda: " ready." in worker.written(), timeout_s=START_S)
        wait("inference", lambda: answers(f"{self.inference_url}/healthz"), timeout_s=START_S)
        self.supervisor.check()

    def _inference_environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in self.env.items()
            if name.removesuffix("_FILE") not in CONTROL_PLANE_ONLY
        }
        return {
            **kept,
            "ASSAY_CONTROL_URL": self.web_url,
            "ASSAY_SERVER_TOKEN_FILE": str(self.data / "tokens" / "inference"),
            "ASSAY_SERVER_CACHE": str(self.data / "inference"),
        }

    def serve(self) -> None:
        """Watches until a signal ends it. Raises ProcessDied when a process ends by itself."""
        while True:
            self.supervisor.check()
            time.sleep(0.5)

    def stop(self) -> None:
        """Ends every process that was started; the broker last, so that the others can say goodbye to it."""
        if self.supervisor.children:
            self.say(f"Stopping {', '.join(reversed(self.supervisor.children))} ...")
            killed = self.supervisor.stop(last=(BROKER,))
            self.say("Everything is stopped." + (f" (Killed: {', '.join(killed)}.)" if killed else ""))
        for port in self._ports:
            port.release()
        if self._elsewhere:
            shutil.rmtree(self._elsewhere, ignore_errors=True)
