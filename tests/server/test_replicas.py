"""Two replicas behind the sample nginx: load is shared, and losing one loses no request."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.server.conftest import make_world
from tests.server.control_plane import MODEL_ID, SHA, TOKEN, FakeControlPlane
from tests.server.running import bearer, eventually, free_port, inference_server, running

CONFIGURATION = Path(__file__).resolve().parents[2] / "config" / "nginx" / "inference.conf"
pytestmark = [
    pytest.mark.enable_socket,
    pytest.mark.skipif(
        not shutil.which("nginx"), reason="nginx is not installed (apt-get install nginx-light)"
    ),
]


@contextmanager
def nginx(folder: Path, replicas: list[str]) -> Iterator[str]:
    """The sample configuration with these replicas in the place of Docker's names."""
    port = free_port()
    text = CONFIGURATION.read_text(encoding="utf-8")
    servers = "\n".join(
        f"server {url.removeprefix('http://')} max_fails=2 fail_timeout=5s;" for url in replicas
    )
    for line in text.splitlines():
        if "resolver 127" in line:
            text = text.replace(line, "")
        elif "server inference:8100" in line:
            text = text.replace(line, servers)
    text = text.replace("listen 8100", f"listen 127.0.0.1:{port}")
    text = text.replace("/tmp/nginx-inference.pid", str(folder / "nginx.pid"))
    # Its folders for bodies that do not fit the memory: an ordinary user may not write to the packaged ones.
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = text.replace("http {", "http {" + paths, 1)
    file = folder / "nginx.conf"
    file.write_text(text, encoding="utf-8")
    process = subprocess.Popen(["nginx", "-p", str(folder), "-c", str(file), "-g", "daemon off;"])
    url = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: answers(url), "nginx did not start")
        yield url
    finally:
        process.terminate()
        process.wait(10)


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.HTTPError:
        return False


def test_two_replicas_share_the_load_and_losing_one_loses_no_request(tmp_path: Path) -> None:
    control = FakeControlPlane()
    with ExitStack() as stack:
        url = stack.enter_context(running(control.app))
        make_world(control, url, tmp_path)
        kept = stack.enter_context(inference_server(url, tmp_path / "one"))
        lost_stack = stack.enter_context(ExitStack())
        lost = lost_stack.enter_context(inference_server(url, tmp_path / "two"))
        for replica in (kept, lost):
            replica.wait_ready()
        addresses = [str(replica.http.base_url).rstrip("/") for replica in (kept, lost)]
        front = stack.enter_context(nginx(tmp_path, addresses))

        statuses: Counter[int] = Counter()
        stop = threading.Event()

        def load() -> None:
            with httpx.Client(base_url=front, timeout=15, trust_env=False) as client:
                while not stop.is_set():
                    answer = client.post(
                        f"/v1/predict/{MODEL_ID}", json={"inputs": "good"}, headers=bearer(TOKEN)
                    )
                    statuses[answer.status_code] += 1
                    assert answer.headers.get("X-Model-Revision", SHA["v1"]) == SHA["v1"]

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        shares = [answered(replica.get("/metrics").text) for replica in (kept, lost)]
        lost_stack.close()
        time.sleep(1.0)
        stop.set()
        for thread in threads:
            thread.join(20)
        assert min(shares) > 0, "one replica got nothing"
        assert set(statuses) == {200}
        assert httpx.get(f"{front}/metrics").status_code == 404


def answered(figures: str) -> float:
    line = next(
        (
            x
            for x in figures.splitlines()
            if x.startswith('assay_requests_total{protocol="assay",status="200"}')
        ),
        "",
    )
    return float(line.rsplit(" ", 1)[-1]) if line else 0.0
