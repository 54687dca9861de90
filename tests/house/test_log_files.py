"""Logs of the embedded set-up do not fill the disk."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.log_files import KEPT, set_aside
from config.supervisor import Supervisor


def test_large_log_is_set_aside_and_three_old_ones_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    for number in range(KEPT + 2):
        log.write_bytes(bytes([number]) * 11)
        assert set_aside(log, 10) and log.read_bytes() == b""
    kept = {path.name: path.read_bytes()[0] for path in tmp_path.iterdir() if path != log}
    assert kept == {"web.log.1": KEPT + 1, "web.log.2": KEPT, "web.log.3": KEPT - 1}


def test_small_log_no_log_and_no_limit_are_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "web.log"
    assert not set_aside(log, 10)
    log.write_bytes(b"x" * 10)
    assert not set_aside(log, 10) and not set_aside(log, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["web.log"]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path / "logs", most_log_bytes=100_000)
    yield made
    made.stop(grace_s=5)


def test_running_process_goes_on_writing_in_the_emptied_log(supervisor: Supervisor, tmp_path: Path) -> None:
    code = "import time\nfor n in range(10**6):\n    print(f'line {n} ' + 'x' * 90, flush=True)\n    time.sleep(0.0002)"
    child = supervisor.start("chatty", [sys.executable, "-c", code], env=dict(os.environ), cwd=tmp_path)
    old = child.log.with_name("chatty.log.1")
    end = time.monotonic() + 30
    while not old.exists() and time.monotonic() < end:
        supervisor.check()
        time.sleep(0.05)
    assert old.stat().st_size > 100_000
    size = child.log.stat().st_size
    while child.log.stat().st_size <= size and time.monotonic() < end:
        time.sleep(0.05)
    assert child.log.stat().st_size < 100_000 and "line " in child.last_words()
