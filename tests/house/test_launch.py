"""The launcher: what it starts is there, what dies is said, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from config import embedded, private_redis, processes
from config.embedded import Refused, free_port, lock_folder
from config.env import BASE_DIR, SETTINGS
from config.supervisor import NotReady, ProcessDied, Supervisor

pytestmark = pytest.mark.service

ENV = dict(os.environ)


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "logs")
    yield made
    made.stop(grace_s=2)


def python(*lines: str) -> list[str]:
    return [sys.executable, "-u", "-c", "\n".join(lines)]


def until(ready: Callable[[], bool], timeout_s: float = 20) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if ready():
            return True
        time.sleep(0.05)
    return ready()


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


# --- ports, folders ------------------------------------------------------------------------------------------------------


def test_taken_port_gives_way_to_the_next_and_says_so() -> None:
    said: list[str] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        found = free_port(port, "the web", said.append)
    assert found.number > port
    assert said == [f"Port {port} is taken, so the web gets {found.number}."]
    found.release()


def test_port_is_ours_before_its_server_starts_and_a_sharing_server_is_seen() -> None:
    first = free_port(18_000, "the web", print)
    second = free_port(first.number, "the web", print)
    assert second.number > first.number
    second.release()
    with socket.socket() as granian:  # its workers share their port
        granian.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        granian.bind(("127.0.0.1", first.number))
        granian.listen()
        first.release()
        third = free_port(first.number, "the web", print)
        assert third.number > first.number
        third.release()


def test_no_free_port_is_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "PORTS_TRIED", 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Refused, match="Choose another range"):
            free_port(taken.getsockname()[1], "the web", print)


def test_second_launcher_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with lock_folder(tmp_path / "data"):
        with pytest.raises(Refused, match=rf"process {os.getpid()}"):
            lock_folder(tmp_path / "data")
        lock_folder(tmp_path / "other").close()
    lock_folder(tmp_path / "data").close()


def test_long_path_puts_the_socket_elsewhere(tmp_path: Path) -> None:
    short, long = tmp_path / "redis", tmp_path / ("x" * 120)
    if len(os.fsencode(short)) < 95:
        assert private_redis.socket_path(short) == short / "redis.sock"
    elsewhere = private_redis.socket_path(long)
    assert elsewhere.parent != long and len(os.fsencode(elsewhere)) <= private_redis.MAX_SOCKET_BYTES
    assert elsewhere.parent.stat().st_mode & 0o777 == 0o700
    elsewhere.parent.rmdir()


# --- the broker ------------------------------------------------------------------------------------------------------------


def test_private_redis_answers_keeps_what_it_was_told_and_stops(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    folder = tmp_path / 'a "quoted" folder'
    socket_file = private_redis.socket_path(folder)

    def start() -> int:
        argv = [
            processes.find_program("redis-server"),
            str(private_redis.write_configuration(folder, socket_file)),
        ]
        child = supervisor.start("redis", argv, env=ENV, cwd=tmp_path)
        supervisor.wait_until("redis", lambda: private_redis.answers(socket_file), timeout_s=20)
        return child.pid

    def ask(command: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(socket_file))
            connection.sendall(f"{command}\r\n".encode())
            return connection.recv(1000).decode()

    pid = start()
    assert ask("SET kept yes") == "+OK\r\n"
    assert "noeviction" in ask("CONFIG GET maxmemory-policy")
    assert "yes" in ask("CONFIG GET appendonly")
    assert (socket_file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o700, 0o700)
    assert not [c for c in psutil.Process(pid).net_connections(kind="inet") if c.status == psutil.CONN_LISTEN]
    assert supervisor.stop() == []
    assert gone(pid) and not private_redis.answers(socket_file)
    start()
    assert ask("GET kept") == "$3\r\nyes\r\n"


# --- the supervisor --------------------------------------------------------------------------------------------------------


def test_child_that_dies_early_is_reported_with_its_last_words(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    supervisor.start("quiet", python("import time", "time.sleep(60)"), env=ENV, cwd=tmp_path)
    supervisor.start(
        "loud", python("print('the disk is full')", "raise SystemExit(3)"), env=ENV, cwd=tmp_path
    )
    with pytest.raises(ProcessDied, match=r"(?s)loud ended with code 3.*the disk is full"):
        supervisor.wait_until("quiet", lambda: False, timeout_s=20)


def test_child_that_is_killed_is_reported_with_the_signal(supervisor: Supervisor, tmp_path: Path) -> None:
    child = supervisor.start("web", python("import time", "time.sleep(60)"), env=ENV, cwd=tmp_path)
    supervisor.check()
    os.kill(child.pid, signal.SIGKILL)
    child.popen.wait()
    with pytest.raises(ProcessDied, match="web was ended by SIGKILL"):
        supervisor.check()


def test_child_that_never_gets_ready_is_reported(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(
        "web", python("print('loading')", "import time", "time.sleep(60)"), env=ENV, cwd=tmp_path
    )
    assert until(lambda: "loading" in supervisor.children["web"].written())
    with pytest.raises(NotReady, match=r"(?s)not ready after 0 s.*loading"):
        supervisor.wait_until("web", lambda: False, timeout_s=0.3)


def test_last_words_are_those_of_this_run(supervisor: Supervisor, tmp_path: Path) -> None:
    (tmp_path / "logs" / "web.log").write_text("of yesterday\n", encoding="utf-8")
    child = supervisor.start("web", python("print('of today')"), env=ENV, cwd=tmp_path)
    child.popen.wait()
    assert child.last_words() == "    of today"
    assert child.log.read_text(encoding="utf-8") == "of yesterday\nof today\n"


def test_stop_ends_stubborn_children_and_what_they_started(supervisor: Supervisor, tmp_path: Path) -> None:
    stubborn = supervisor.start(
        "stubborn",
        python(
            "import signal, subprocess, sys, time",
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
            "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid)",
            "time.sleep(60)",
        ),
        env=ENV,
        cwd=tmp_path,
    )
    polite = supervisor.start(
        "polite", python("import time", "print('up')", "time.sleep(60)"), env=ENV, cwd=tmp_path
    )
    assert until(lambda: stubborn.written().strip().isdigit() and "up" in polite.written())
    grandchild = int(stubborn.written())
    assert supervisor.stop(last=("polite",), grace_s=0.5) == ["stubborn"]
    assert until(lambda: all(gone(pid) for pid in (stubborn.pid, grandchild, polite.pid)))
    assert supervisor.children == {}


def test_one_time_command_gives_its_output_or_its_last_words(supervisor: Supervisor, tmp_path: Path) -> None:
    assert supervisor.once("good", python("print('42')"), env=ENV, cwd=tmp_path) == "42\n"
    bad = python("import sys", "print('no such table', file=sys.stderr)", "sys.exit(1)")
    with pytest.raises(ProcessDied, match=r"(?s)migrate ended with code 1.*no such table"):
        supervisor.once("migrate", bad, env=ENV, cwd=tmp_path)
    with pytest.raises(ProcessDied, match="did not finish in 0 s"):
        supervisor.once("slow", python("import time", "time.sleep(60)"), env=ENV, cwd=tmp_path, timeout_s=0.3)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells children of their parent's death"
)
def test_children_end_when_the_launcher_is_killed(tmp_path: Path) -> None:
    launcher = subprocess.Popen(
        python(
            "import os, sys, time",
            "from pathlib import Path",
            "from config.supervisor import Supervisor",
            f"s = Supervisor(Path({str(tmp_path)!r}))",
            "c = s.start('c', [sys.executable, '-c', 'import time; time.sleep(60)'], env=os.environ, cwd=Path('.'))",
            "print(c.pid)",
            "time.sleep(60)",
        ),
        cwd=BASE_DIR,
        stdout=subprocess.PIPE,
        text=True,
        env={**ENV, "ASSAY_DATA": str(tmp_path)},
    )
    assert launcher.stdout is not None
    child = int(launcher.stdout.readline())
    launcher.kill()
    launcher.wait()
    launcher.stdout.close()
    assert until(lambda: gone(child))


# --- the whole -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_up_serves_on_the_next_ports_and_sigterm_ends_every_process(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        given = {name: value for name, value in ENV.items() if name not in SETTINGS}
        given.update(ASSAY_DATA=str(data), ASSAY_WEB_PORT=str(port), ASSAY_INFERENCE_PORT=str(port))
        out = tmp_path / "out"
        with out.open("wb") as output:
            launcher = subprocess.Popen(
                [sys.executable, "-m", "config.launch", "up"],
                cwd=BASE_DIR,
                env=given,
                stdout=output,
                stderr=output,
            )
        try:
            assert until(
                lambda: (
                    launcher.poll() is not None
                    or "Ctrl-C stops everything" in out.read_text(encoding="utf-8")
                ),
                120,
            )
            said = out.read_text(encoding="utf-8")
            assert launcher.poll() is None, said
            family = psutil.Process(launcher.pid).children(recursive=True)
            address = next(line.split()[-1] for line in said.splitlines() if "dashboard" in line)
            assert embedded.answers(f"{address}healthz")
        finally:
            launcher.terminate()
            code = launcher.wait(timeout=60)
    said = out.read_text(encoding="utf-8")
    assert code == 0, said
    assert f"Port {port} is taken" in said and "createsuperuser" in said and "Everything is stopped" in said
    assert len(family) >= 8  # redis, web and 2 workers, celery and 2 workers, beat, inference
    assert until(lambda: all(gone(process.pid) for process in family))
    assert (data / "tokens" / "inference").stat().st_mode & 0o777 == 0o600
    logged = {"redis", "migrate", "service-account", "web", "worker", "beat", "inference"}
    assert {path.stem for path in (data / "logs").iterdir()} == logged
