"""The server as a Ray Serve application with two replicas, in an environment that has Ray (`make test-ray`)."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import httpx
import pytest

from benchmarks.models import build
from tests.server.control_plane import MODEL_ID, SERVICE_TOKEN, SHA, TOKEN, FakeControlPlane
from tests.server.running import bearer, eventually, running

ROOT = Path(__file__).resolve().parents[2]
RAY = ROOT / "var" / "ray" / "bin"
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.enable_socket,
    pytest.mark.skipif(not RAY.is_dir(), reason="no environment with Ray (make test-ray builds it)"),
]

# `serve run` starts a private Ray on this machine; the driver ends it.
DRIVER = """
import signal, sys
import ray
from ray import serve

ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
from inference.server.ray_app import app
serve.run(app)
print("running", flush=True)
signal.sigwait({signal.SIGTERM})
serve.shutdown()
ray.shutdown()
"""


def test_two_replicas_answer_with_the_approved_revision(tmp_path: Path) -> None:
    snapshot = build(tmp_path / "models", "tiny")
    control = FakeControlPlane()
    control.add_revision("v1", {f.name: f.read_bytes() for f in snapshot.iterdir() if f.is_file()})
    control.serve(control.line("v1", max_length=64))
    port = 18_123
    with running(control.app) as url, (tmp_path / "ray.log").open("wb") as log:
        environment = {
            **os.environ,
            "ASSAY_CONTROL_URL": url,
            "ASSAY_SERVER_TOKEN": SERVICE_TOKEN,
            "ASSAY_SERVER_CACHE": str(tmp_path / "cache"),
            "ASSAY_SERVER_REQUESTS_PER_S": "0",
            "ASSAY_RAY_REPLICAS": "2",
            "PYTHONPATH": str(ROOT),
            "RAY_USAGE_STATS_ENABLED": "0",
            # Ray gives itself half a minute, which a busy machine of two cores exceeds.
            "RAY_raylet_start_wait_time_s": "180",
        }
        process = subprocess.Popen(
            [str(RAY / "python"), "-c", DRIVER, str(port)], env=environment, stdout=log, stderr=log, cwd=ROOT
        )
        try:
            front = f"http://127.0.0.1:{port}"
            eventually(lambda: ready(front) or process.poll() is not None, "Ray serves", seconds=300)
            assert process.poll() is None, (tmp_path / "ray.log").read_text()[-2000:]
            statuses: Counter[tuple[int, str]] = Counter()
            with httpx.Client(base_url=front, timeout=30, trust_env=False) as client:
                for _ in range(40):
                    answer = client.post(
                        f"/v1/predict/{MODEL_ID}", json={"inputs": "good"}, headers=bearer(TOKEN)
                    )
                    statuses[answer.status_code, answer.headers.get("X-Model-Revision", "")] += 1
                refusal = client.post(f"/v1/predict/{MODEL_ID}", json={"inputs": []}, headers=bearer(TOKEN))
            assert set(statuses) == {(200, SHA["v1"])}
            assert (refusal.status_code, refusal.json()["error"]["code"]) == (422, "no_inputs")
            eventually(
                lambda: len({report["replica"] for report in control.reports}) == 2, "both replicas report"
            )
        finally:
            process.terminate()
            process.wait(60)


def ready(front: str) -> bool:
    try:
        return httpx.get(f"{front}/readyz").status_code == 200
    except httpx.HTTPError:
        return False
