"""The server as it is run: its own process, torch, a real snapshot, a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.engine.tiny import LABELS, build_tiny
from tests.server.conftest import World
from tests.server.control_plane import SERVICE_TOKEN, SHA
from tests.server.running import Caller, eventually, free_port

SECRET = "Nguyễn Văn A Zwq"


@pytest.mark.service
def test_process_serves_a_real_model_and_drains_on_sigterm(world: World, tmp_path: Path) -> None:
    world.control.files.clear()
    snapshot = build_tiny(tmp_path / "tiny")
    world.control.add_revision("v1", {path.name: path.read_bytes() for path in snapshot.iterdir()})
    world.control.serve(world.control.line("v1"))
    port = free_port()
    log = tmp_path / "log"
    environment = {
        **os.environ,
        "ASSAY_CONTROL_URL": world.url,
        "ASSAY_SERVER_TOKEN": SERVICE_TOKEN,
        "ASSAY_SERVER_CACHE": str(world.cache),
        "ASSAY_MANIFEST_POLL_S": "0.2",
        "ASSAY_SERVER_DRAIN_DELAY_S": "0.5",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "inference.server", "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=subprocess.STDOUT)
    caller = Caller(f"http://127.0.0.1:{port}")
    try:
        eventually(lambda: answers(caller), "the probe never answered", seconds=20)
        eventually(lambda: caller.get("/readyz").status_code == 200, "never ready", seconds=150)
        body = caller.predict([SECRET, "this product is useful"], parameters={"top_k": 3}).json()
        assert (body["commit_sha"], body["device"]) == (SHA["v1"], "cpu")
        assert {p["label"] for p in body["predictions"]} <= set(LABELS)
        assert all(p["token_count"] > 2 for p in body["predictions"])

        assert caller.predict(model=f"acme/{SECRET}").status_code == 404

        statuses: list[int] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                try:
                    statuses.append(caller.predict(["word " * 20] * 32).status_code)
                except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
                    return  # The socket is closed: the drain is over and the process ends.

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        eventually(lambda: ready_reason(caller) in ("draining", "closed"), "readiness goes first", seconds=1)
        assert process.wait(20) == 0
        stop.set()
        for thread in threads:
            thread.join(10)
        assert set(statuses) == {200}
    finally:
        process.kill()
        process.wait()
        caller.http.close()
    text = log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {"model_ready", "model_serving", "request", "draining"} <= {line["event"] for line in lines}
    assert "Nguy" not in text
    assert "Zwq" not in text


def answers(caller: Caller) -> bool:
    try:
        return caller.get("/healthz").status_code == 200
    except httpx.ConnectError:
        return False


def ready_reason(caller: Caller) -> str:
    try:
        return str(caller.get("/readyz").json()["reason"])
    except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
        return "closed"


def test_process_refuses_to_start_without_settings(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ASSAY_")}
    done = subprocess.run(
        [sys.executable, "-m", "inference.server"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "ASSAY_CONTROL_URL" in done.stderr
    assert "Traceback" not in done.stderr
