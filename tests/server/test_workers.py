"""One server of a host and two web workers: what must hold although requests land in different processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from inference.engine.dummy import load_dummy
from inference.engine.spawn import lanes_for
from inference.server.errors import ApiError
from inference.server.workers.board import Board, SharedQuotas, new_board
from tests.engine.tiny import build_tiny
from tests.server.conftest import World
from tests.server.control_plane import MODEL_ID, SERVICE_TOKEN, SHA, TOKEN, dummy_files
from tests.server.running import Caller, eventually, free_port, inference_server
from tests.server.test_predict import GateBackend, code_of, in_background
from tests.server.test_swap import light_load

pytestmark = pytest.mark.enable_socket


@contextmanager
def callers(first: Caller, count: int = 8) -> Iterator[list[Caller]]:
    """Callers with a connection each, so that every worker gets some."""
    url = str(first.http.base_url)
    with ExitStack() as stack:
        made = [Caller(url) for _ in range(count)]
        for one in made:
            stack.callback(one.http.close)
            one.get("/healthz")
        yield made


def pids() -> list[int]:
    """The web workers that this test's host started."""
    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if (
                "inference.server.workers.worker" in child.cmdline()
                and child.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(child.pid)
        except psutil.NoSuchProcess:
            continue
    return found


def both() -> list[int]:
    """The two workers, once those of the test before have ended."""
    eventually(lambda: len(pids()) == 2, "not two workers")
    return pids()


def test_swap_and_rollback_under_load_fail_no_request(world: World) -> None:
    limits = {"max_wait_s": 30.0, "deadline_s": 30.0}
    with (
        inference_server(world.url, world.cache, limits=limits, web_workers=2) as caller,
        light_load(caller, callers=4) as answers,
    ):
        caller.wait_ready()
        answers.clear()  # those from before it was ready
        for version in ("v2", "v1", "v2", "v3", "v2"):
            time.sleep(0.05)
            world.control.serve(world.control.line(version))
            caller.wait_revision(SHA[version])
            # The host tells all workers at once; a moment later none answers from the old one.
            time.sleep(0.2)
            mark = len(answers) + 4
            eventually(lambda mark=mark: len(answers) > mark + 20, "the load went on", seconds=30)  # type: ignore[misc]
            assert {sha for _, sha in answers[mark : mark + 20]} == {SHA[version]}
        assert [answer for answer in answers if answer[0] != 200] == []
        assert len(answers) > 50


def test_a_replaced_model_is_unloaded_once_no_worker_uses_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []

    def load(config: Any) -> Any:
        backend = load_dummy(config)
        monkeypatch.setattr(backend, "close", lambda: closed.append(backend.salt))
        return backend

    with inference_server(
        world.url, world.cache, load_backend=load, web_workers=2, keep_loaded_mb=0
    ) as caller:
        caller.wait_ready()
        assert closed == []
        world.control.serve(world.control.line("v2"))
        caller.wait_revision(SHA["v2"])
        eventually(lambda: closed == [0], "the old model stayed in memory")


def test_after_a_suspension_no_worker_answers(world: World) -> None:
    with inference_server(world.url, world.cache, web_workers=2) as caller, callers(caller) as all_of_them:
        caller.wait_ready()
        assert {one.predict().status_code for one in all_of_them} == {200}
        world.control.blocked = [{"model_id": MODEL_ID, "commit_sha": SHA["v1"]}]
        eventually(lambda: caller.predict().status_code == 404, "it still answers")
        time.sleep(0.1)
        assert {code_of(one.predict()) for one in all_of_them} == {(404, "not_served")}


def test_connections_are_spread_evenly(world: World) -> None:
    with inference_server(world.url, world.cache, web_workers=2) as caller:
        caller.wait_ready()
        caller.http.close()
        with callers(caller, 12):
            connected = {pid: len(psutil.Process(pid).net_connections("tcp")) for pid in both()}
            assert sorted(connected.values()) == [6, 6]


def test_a_worker_that_dies_costs_its_own_requests_and_is_replaced(world: World) -> None:
    backend = GateBackend()
    with (
        inference_server(world.url, world.cache, load_backend=lambda _: backend, web_workers=2) as caller,
        callers(caller, 4) as all_of_them,
    ):
        caller.wait_ready()
        backend.armed = True
        before = backend.forwards
        outcomes: Counter[Any] = Counter()

        def ask(one: Caller) -> None:
            try:
                outcomes[one.predict().status_code] += 1
            except httpx.HTTPError:
                outcomes["connection"] += 1

        threads = [threading.Thread(target=ask, args=(one,)) for one in all_of_them]
        for thread in threads:
            thread.start()
        eventually(lambda: backend.forwards > before, "no request runs")
        time.sleep(0.2)
        killed = both()[0]
        os.kill(killed, signal.SIGKILL)
        time.sleep(0.2)
        backend.armed = False
        backend.gate.set()
        for thread in threads:
            thread.join(15)
        assert outcomes == {200: 2, "connection": 2}
        eventually(lambda: len(pids()) == 2 and killed not in pids(), "no other took its place")
        with callers(caller, 4) as again:
            assert {one.predict().status_code for one in again} == {200}


def test_a_quota_is_that_of_the_server_not_of_each_worker(world: World) -> None:
    with (
        inference_server(world.url, world.cache, limits={"requests_per_s": 3.0}, web_workers=2) as caller,
        callers(caller) as all_of_them,
    ):
        caller.wait_ready()
        with ThreadPoolExecutor(8) as pool:
            began = time.monotonic()
            statuses = Counter(pool.map(lambda one: one.predict().status_code, all_of_them * 3))
            spent_s = time.monotonic() - began
        # A burst of two seconds, what flowed in meanwhile, and one that takes what is not whole yet.
        assert statuses.keys() == {200, 429}
        assert 6 <= statuses[200] <= 6 + 3 * spent_s + 1


def test_full_queue_is_429_in_every_worker(world: World) -> None:
    backend = GateBackend()
    limits = {"max_queued_inputs": 4, "max_inputs": 4, "max_wait_s": 30.0, "deadline_s": 30.0}
    with (
        inference_server(
            world.url, world.cache, load_backend=lambda _: backend, limits=limits, web_workers=2
        ) as caller,
        callers(caller, 9) as all_of_them,
    ):
        caller.wait_ready()
        backend.armed = True
        before = backend.forwards
        first = in_background(1, all_of_them[0].predict)
        eventually(lambda: backend.forwards > before, "the first request runs")
        answers: list[httpx.Response] = []
        others = [
            threading.Thread(target=lambda one=one: answers.append(one.predict())) for one in all_of_them[1:]
        ]
        for thread in others:
            thread.start()
        # Four wait in the one queue, whichever worker they came through; the others are told at once.
        eventually(lambda: len(answers) == 4, "not so many as wait were refused")
        assert {code_of(one) for one in answers} == {(429, "busy")}
        assert all(int(one.headers["Retry-After"]) >= 1 for one in answers)
        backend.gate.set()
        for thread in first + others:
            thread.join(10)
        assert Counter(one.status_code for one in answers) == {200: 4, 429: 4}
        assert {one.predict().status_code for one in all_of_them[:4]} == {200}


def test_metrics_are_those_of_all_workers(world: World) -> None:
    with inference_server(world.url, world.cache, web_workers=2) as caller, callers(caller) as all_of_them:
        caller.wait_ready()
        for one in all_of_them:
            assert one.predict(["good", "bad"]).status_code == 200
        # Whoever is asked tells the same.
        for one in all_of_them:
            text = one.get("/metrics").text
            assert 'assay_requests_total{protocol="assay",status="200"} 8.0' in text
            assert 'assay_models{state="ready"} 1.0' in text
            assert "assay_request_ms_bucket" in text
        figures = caller.get(f"/tei/{MODEL_ID}/metrics", TOKEN).text
        assert "assay_inputs_total 16.0" in figures
        os.kill(both()[0], signal.SIGKILL)
        eventually(lambda: len(pids()) == 2, "no other took its place")
        with callers(caller, 1) as [another]:
            assert 'assay_requests_total{protocol="assay",status="200"} 8.0' in another.get("/metrics").text


def test_one_worker_s_question_about_a_token_answers_for_all(world: World) -> None:
    with inference_server(world.url, world.cache, web_workers=2) as caller, callers(caller) as all_of_them:
        caller.wait_ready()
        assert all_of_them[0].predict().status_code == 200
        time.sleep(0.2)
        assert {one.predict().status_code for one in all_of_them} == {200}
        assert world.control.introspections == 1


def test_a_tokenizer_that_only_the_host_can_run(world: World) -> None:
    class Odd(GateBackend):
        def tokeniser_facts(self) -> dict[str, Any]:
            from inference.engine import ModelLoadError

            raise ModelLoadError("No.", code="slow_tokenizer")

    with inference_server(world.url, world.cache, load_backend=lambda _: Odd(), web_workers=2) as caller:
        caller.wait_ready()
        body = caller.predict(["one two three", "word " * 200]).json()
        assert [(p["token_count"], p["truncated"]) for p in body["predictions"]] == [(5, False), (128, True)]
        assert body["predictions"][0]["label"] == GateBackend().labels[_label("one two three")]


def _label(text: str) -> int:
    backend = GateBackend()
    return int(backend.forward(backend.encode([text]))[0].argmax())


def test_what_waits_for_memory_comes_in_when_a_worker_is_asked_for_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.server.memory.IDLE_S", 0.0)
    control = world.control
    control.serve(control.line("v1", channel="staging"), control.line("v2", channel="next"))
    size = sum(len(dummy_files()[name]) for name in ("config.json", "tokenizer.json", "model.safetensors"))
    with inference_server(world.url, world.cache, web_workers=2, memory_budget_mb=1.5 * size / 1e6) as caller:
        caller.wait_ready()
        lines = caller.get("/v1/models", TOKEN).json()["models"]
        assert sorted(line["state"] for line in lines) == ["ready", "waiting"]
        waiting = next(line["channel"] for line in lines if line["state"] == "waiting")
        model = f"{MODEL_ID}@{waiting}"
        assert code_of(caller.predict(model=model)) == (503, "model_loading")
        eventually(lambda: caller.predict(model=model).status_code == 200, "it was never loaded")


# The processes as they are run


@contextmanager
def process(world: World, log: Path, **more: str) -> Iterator[tuple[subprocess.Popen[bytes], Caller]]:
    port = free_port()
    environment = {
        **os.environ,
        "ASSAY_CONTROL_URL": world.url,
        "ASSAY_SERVER_TOKEN": SERVICE_TOKEN,
        "ASSAY_SERVER_CACHE": str(world.cache),
        "ASSAY_MANIFEST_POLL_S": "0.2",
        "ASSAY_SERVER_DRAIN_DELAY_S": "0.5",
        "ASSAY_SERVER_WEB_WORKERS": "2",
        "ASSAY_SERVER_REQUESTS_PER_S": "0",
        "OMP_NUM_THREADS": "1",
        **more,
    }
    with log.open("wb") as out:
        started = subprocess.Popen(
            [sys.executable, "-m", "inference.server", "--port", str(port)],
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    caller = Caller(f"http://127.0.0.1:{port}")
    try:
        eventually(lambda: _ready(caller), "never ready", seconds=150)
        yield started, caller
    finally:
        started.kill()
        started.wait()
        caller.http.close()


def _ready(caller: Caller) -> bool:
    try:
        return caller.get("/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def _gone(family: list[psutil.Process]) -> Callable[[], bool]:
    return lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family)


@pytest.mark.service
def test_processes_of_a_real_model_survive_what_dies_and_leave_nothing(world: World, tmp_path: Path) -> None:
    """A real snapshot; its compute process killed, a drain by SIGTERM, the host killed."""
    world.control.files.clear()
    snapshot = build_tiny(tmp_path / "tiny")
    world.control.add_revision("v1", {path.name: path.read_bytes() for path in snapshot.iterdir()})
    world.control.serve(world.control.line("v1"))
    log = tmp_path / "log"
    with process(world, log) as (host, caller), callers(caller, 4) as all_of_them:
        texts = ["this product is useful", "Giao hàng nhanh", "👍 great"]
        before = caller.predict(texts, parameters={"top_k": 3}).json()["predictions"]
        for one in all_of_them:
            assert one.predict(texts, parameters={"top_k": 3}).json()["predictions"] == before

        family = psutil.Process(host.pid).children(recursive=True)
        computing = [p for p in family if "inference.engine.process_child" in p.cmdline()]
        speaking = [p for p in family if "inference.server.workers.worker" in p.cmdline()]
        assert (len(computing), len(speaking)) == (lanes_for()[0], 2)
        [first] = [p for p in computing if p.ppid() == host.pid]
        forked = {p.ppid() for p in computing if p is not first}
        assert forked <= {first.pid}, "one model in memory, however many compute and speak for it"
        for web in speaking:
            assert not any("torch" in m.path for m in web.memory_maps()), "a web worker has no model"

        first.kill()
        statuses = {one.predict("again").status_code for one in all_of_them}
        # 504: the machine is slow, and another process did not come up within the deadline.
        assert statuses <= {200, 503, 504}
        eventually(
            lambda: caller.predict("again").status_code == 200, "the model never came back", seconds=60
        )
        assert caller.predict(texts, parameters={"top_k": 3}).json()["predictions"] == before

        family = psutil.Process(host.pid).children(recursive=True)
        seen: list[int] = []
        stop = threading.Event()

        def ask(one: Caller) -> None:
            while not stop.is_set():
                try:
                    seen.append(one.predict(["word " * 20] * 8).status_code)
                except httpx.HTTPError:
                    return  # The socket is closed: the drain is over.

        threads = [threading.Thread(target=ask, args=(one,)) for one in all_of_them]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        host.send_signal(signal.SIGTERM)
        eventually(lambda: _reason(caller) in ("draining", "closed"), "readiness goes first", seconds=2)
        assert host.wait(30) == 0
        stop.set()
        for thread in threads:
            thread.join(10)
        assert set(seen) == {200}
        eventually(_gone(family), "a process outlived the drain")
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    assert {line.get("worker") for line in lines if line["event"] == "request"} == {0, 1}

    with process(world, log) as (host, caller):
        family = psutil.Process(host.pid).children(recursive=True)
        assert len(family) >= 3
        host.kill()
        eventually(_gone(family), "a process outlived its host", seconds=15)


def _reason(caller: Caller) -> str:
    try:
        return str(caller.get("/readyz").json()["reason"])
    except httpx.HTTPError:
        return "closed"


def test_a_killed_host_answers_those_who_wait(world: World, tmp_path: Path) -> None:
    """Its dummy hangs; the worker answers 503 when the host is gone, then ends."""
    script = tmp_path / "host.py"
    script.write_text(HANGING_HOST.format(url=world.url, token=SERVICE_TOKEN, cache=str(world.cache)))
    root = Path(__file__).resolve().parents[2]
    started = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert started.stdout is not None
    try:
        caller = Caller(f"http://127.0.0.1:{int(started.stdout.readline())}")
        caller.wait_ready()
        family = psutil.Process(started.pid).children(recursive=True)
        answers: list[tuple[int, str]] = []
        threads = in_background(4, lambda: answers.append(code_of(caller.predict("hang"))))
        time.sleep(0.5)
        started.kill()
        for thread in threads:
            thread.join(10)
        assert answers == [(503, "model_unavailable")] * 4
        eventually(_gone(family), "a worker outlived its host")
        caller.http.close()
    finally:
        started.kill()
        started.wait()
        started.stdout.close()


HANGING_HOST = """
import asyncio, socket, time, zlib
from pathlib import Path
from inference.engine.dummy import DummyBackend
from inference.server.settings import Limits, ServerSettings
from inference.server.workers.host import Host

class Hanging(DummyBackend):
    def forward(self, batch):
        if any(zlib.crc32(b"hang") in one.input_ids for one in batch):
            time.sleep(60)
        return super().forward(batch)

settings = ServerSettings(
    control_url={url!r}, server_token={token!r}, cache=Path({cache!r}), web_workers=2,
    manifest_poll_s=0.05, limits=Limits(requests_per_s=0),
)
listener = socket.create_server(("127.0.0.1", 0), backlog=128)
print(listener.getsockname()[1], flush=True)
asyncio.run(Host(settings, lambda config: Hanging(), listener).run())
"""


def test_shared_quotas_count_over_processes_and_forget_the_one_seen_longest_ago() -> None:
    now = [0.0]
    board = Board(new_board())
    books = [SharedQuotas(Board(board.fd), 2.0, 60.0, clock=lambda: now[0]) for _ in range(2)]
    for number in range(4):  # a burst of two seconds
        books[number % 2].begin("a")
    for book in books:
        with pytest.raises(ApiError) as refusal:
            book.begin("a")
        assert (refusal.value.status, refusal.value.code) == (429, "quota_exceeded")
    books[0].begin("b")
    now[0] = 0.6
    books[1].begin("a")
    books[0].spend("b", 100)
    with pytest.raises(ApiError) as refusal:
        books[1].begin("b")
    assert "tokens per minute" in refusal.value.message
    assert int(refusal.value.headers["Retry-After"]) == 41
    for number in range(20_000):  # more callers than places: the oldest goes, nothing breaks
        now[0] += 0.001
        books[0].begin(f"c{number}")
    with pytest.raises(ApiError):
        for _ in range(5):
            books[1].begin("c19999")
