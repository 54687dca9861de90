"""The model in a process of its own: same answers, and a process that dies costs no more than its batch."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from inference.engine import Classify, Engine, InferenceError, ModelLoadError, Prediction, Tag, load_backend
from inference.engine.process import ProcessBackend, load_in_processes
from tests.engine.elsewhere import loop_in_thread
from tests.engine.families import TASK, build_family
from tests.engine.tiny import LINES, tiny_config

pytestmark = pytest.mark.service


@pytest.fixture(params=["thread", "loop"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop | None]:
    """What drives the process: a thread that waits for it, or an event loop that does not."""
    if request.param == "thread":
        yield None
        return
    with loop_in_thread() as running:
        yield running


@pytest.fixture
def started(
    snapshot: Path, loop: asyncio.AbstractEventLoop | None
) -> Iterator[tuple[Engine, list[ProcessBackend]]]:
    backends = load_in_processes(tiny_config(snapshot), threads=1)
    engine = Engine(backends, loop=loop)
    engine.start()
    yield engine, backends
    engine.close()


def child_of(backend: ProcessBackend) -> psutil.Process:
    return psutil.Process(backend._group._children[-1].pid)


def coarse(results: Any) -> str:
    """The results with numbers to four places: batches of another shape add in another order."""
    return re.sub(r"\d+\.\d+(e-\d+)?", lambda found: f"{float(found.group()):.4f}", repr(results))


def test_answers_are_those_of_the_same_model_here(
    snapshot: Path, started: tuple[Engine, list[ProcessBackend]]
) -> None:
    here = Engine(load_backend(tiny_config(snapshot)))
    here.start()
    assert coarse(started[0].ask(LINES, Classify(top_k=3))) == coarse(here.ask(LINES, Classify(top_k=3)))
    assert str(started[0].variant) == "packed/fp32/cpu"
    started[0].check()
    here.close()


def test_token_heads_cross_the_border(tmp_path: Path) -> None:
    snapshot = build_family(tmp_path / "m", "electra", "tag")
    config = replace(tiny_config(snapshot), task=TASK["tag"])
    there, here = Engine(load_in_processes(config, threads=1)), Engine(load_backend(config))
    for engine in (there, here):
        engine.start()
    assert coarse(there.ask(LINES, Tag("first"))) == coarse(here.ask(LINES, Tag("first")))
    for engine in (there, here):
        engine.close()


def test_a_killed_process_is_replaced(started: tuple[Engine, list[ProcessBackend]]) -> None:
    engine, [backend] = started
    before = engine.ask(LINES)
    child_of(backend).kill()
    # One batch meets the dead process; what is cut off it meets the new one.
    try:
        engine.ask(LINES)
    except InferenceError as exc:
        assert exc.code == "backend_lost"
    assert engine.ask(LINES) == before
    engine.check()


def test_a_stopped_process_ends_with_the_engine(snapshot: Path) -> None:
    [backend] = load_in_processes(tiny_config(snapshot), threads=1)
    child = child_of(backend)
    backend.close()
    assert not child.is_running()


def test_a_process_ends_when_its_parent_is_killed(snapshot: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom inference.engine import ClassifierConfig\n"
        "from inference.engine.process import load_in_processes\n"
        f"[b] = load_in_processes(ClassifierConfig(Path({str(snapshot)!r}), 'a/b', 'a' * 40), threads=1)\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules\n"
        "print(b._group._children[0].pid, flush=True)\nsys.stdin.read()\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None and parent.stdin is not None
    child = psutil.Process(int(parent.stdout.readline()))
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdin.close()
    parent.stdout.close()
    psutil.wait_procs([child], timeout=15)
    assert not child.is_running()


def test_a_snapshot_that_cannot_load_says_why(spoiled: Path) -> None:
    (spoiled / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError) as caught:
        load_in_processes(tiny_config(spoiled), threads=1)
    assert caught.value.code == "no_safetensors"


def test_a_process_that_hangs_is_replaced(
    started: tuple[Engine, list[ProcessBackend]], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, [backend] = started
    before = engine.ask(LINES)
    monkeypatch.setattr("inference.engine.process._FORWARD_S", 0.5)
    child = child_of(backend)
    child.suspend()
    try:
        with pytest.raises(InferenceError):
            engine.ask(LINES[:1])
        monkeypatch.setattr("inference.engine.process._FORWARD_S", 60)
        assert engine.ask(LINES) == before
    finally:
        child.resume()


def test_a_closed_engine_answers_what_waits_and_ends_its_process(
    started: tuple[Engine, list[ProcessBackend]],
) -> None:
    engine, [backend] = started
    child = child_of(backend)
    waiting = [engine.submit(engine.admit(1), [line]) for line in LINES for _ in range(5)]
    engine.close()
    assert all(isinstance(one.result(5).results[0], Prediction) for one in waiting)
    assert not child.is_running() and not engine.alive


def test_two_lanes_share_one_queue(
    snapshot: Path, loop: asyncio.AbstractEventLoop | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half precision on a CPU takes a process a core; here two fp32 lanes stand for them."""
    from inference.engine import process

    group = process._Group(tiny_config(snapshot), lanes=2, threads=1)
    monkeypatch.setattr(process, "_Group", lambda *_, **__: group)
    backends = load_in_processes(tiny_config(snapshot), threads=1)
    assert len(backends) == 2
    engine = Engine(backends, loop=loop)
    engine.start()
    answers = [engine.submit(engine.admit(6), LINES) for _ in range(10)]
    wanted = answers[0].result(30).results
    assert all(isinstance(result, Prediction) for result in wanted)
    assert all(answer.result(30).results == wanted for answer in answers)
    engine.close()
