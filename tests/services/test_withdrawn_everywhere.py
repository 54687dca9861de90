"""Suspending an approval reaches every process that answers for it: web processes, nginx before one, inference servers.

Everything is real: granian with two workers a process, nginx handing over the bytes, servers with a (tiny) model in memory, one
database. The promise is five seconds; the figures are printed (`-s`), the test bounds them generously, for busy machines.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest
from pytest_django import Settings

from benchmarks import front
from config.processes import argv
from registry import store
from registry.services.approvals import change_approval
from registry.services.service_accounts import ensure_service_token
from tests.factories import MODEL_ID, SHA_A, make_token, make_world
from tests.gateway.scene import Scene, set_scene
from tests.server.running import free_port
from tests.services.processes import Installation, installation

pytestmark = [
    pytest.mark.service,
    pytest.mark.slow,
    pytest.mark.xdist_group("processes"),
    pytest.mark.django_db(transaction=True),
]
BOUND_S = 60
AFTERWARDS = 24  # requests, each over a connection of its own: both workers of a web process get some


def _is_ok(ask: Callable[[], int]) -> bool:
    return ask() == 200


@dataclass
class Replicas:
    """`asked[name]` sends one request over a new connection and returns its status."""

    scene: Scene
    running: Installation
    token: str
    asked: dict[str, Callable[[], int]] = field(default_factory=dict)

    def add_web(self, name: str, base: str) -> None:
        for verb, path in (
            ("GET", f"{MODEL_ID}/resolve/main/config.json"), ("HEAD", f"{MODEL_ID}/resolve/{SHA_A}/model.safetensors"),
            ("GET", f"api/models/{MODEL_ID}"), ("GET", f"api/models/{MODEL_ID}/tree/{SHA_A}"),
        ):  # fmt: skip
            self.asked[f"{name}: {verb} {path}"] = partial(self._send, verb, f"{base}/hub/{path}")

    def add_inference(self, name: str, base: str) -> None:
        body = {"inputs": ["good"]}
        self.asked[f"{name}: predict"] = partial(self._send, "POST", f"{base}/v1/predict/{MODEL_ID}", body)

    def _send(self, verb: str, url: str, json: dict[str, list[str]] | None = None) -> int:
        try:
            answer = httpx.request(
                verb, url, json=json, headers={"Authorization": f"Bearer {self.token}"}, timeout=20, trust_env=False,
                verify=False,
            )  # fmt: skip
        except httpx.HTTPError:
            return 0
        return answer.status_code

    def ready(self) -> None:
        for name, ask in self.asked.items():
            self.running.wait_for(f"{name} to answer", partial(_is_ok, ask), 180)

    def seconds_until(self, wanted: Callable[[int], bool]) -> dict[str, float]:
        """How long each went on answering otherwise. Raises AssertionError after BOUND_S."""
        begun = time.monotonic()

        def wait(name: str) -> float:
            while not wanted(self.asked[name]()):
                assert time.monotonic() - begun < BOUND_S, f"{name} did not change within {BOUND_S} s"
                time.sleep(0.1)
            return time.monotonic() - begun

        with ThreadPoolExecutor(len(self.asked)) as pool:
            return dict(zip(self.asked, pool.map(wait, self.asked), strict=True))


@pytest.fixture
def replicas(settings: Settings, tiny_files: dict[str, bytes], tmp_path: Path) -> Iterator[Replicas]:
    with installation(OMP_NUM_THREADS="1") as running, ExitStack() as stack:
        settings.STORE_DIR = running.data / "store"
        scene = set_scene(make_world(), tiny_files, {**tiny_files, "notes.txt": b"newer"})
        ensure_service_token(username="inference", path=running.data / "tokens" / "inference")
        found = Replicas(scene, running, make_token(scene.world.viewer, ["read", "artifacts", "infer"]))
        webs = []
        for name, extra in (
            ("web-1", {}),
            ("web-2", {}),
            ("web-behind-nginx", {"ASSAY_ACCEL": "/assay-store/"}),
        ):
            if extra and front.NGINX is None:
                continue
            port = free_port()
            running.start(name, argv("web", port=port, data=running.data), extra)
            webs.append(f"http://127.0.0.1:{port}")
            if extra:
                outside = free_port()
                sample = front.sample(port=outside, web=f"127.0.0.1:{port}", store=store.root())
                stack.enter_context(front.nginx(tmp_path / "nginx", sample, outside))
                found.add_web("nginx", f"http://127.0.0.1:{outside}")
            else:
                found.add_web(name, webs[-1])
        for number, web in enumerate(webs[:2], 1):
            port = free_port()
            environment = {
                "ASSAY_CONTROL_URL": web, "ASSAY_SERVER_TOKEN_FILE": str(running.data / "tokens" / "inference"),
                "ASSAY_SERVER_CACHE": str(tmp_path / f"inference-{number}"),
            }  # fmt: skip
            running.start(f"inference-{number}", argv("inference", port=port, data=running.data), environment)
            found.add_inference(f"inference-{number}", f"http://127.0.0.1:{port}")
        found.ready()
        yield found


def test_suspended_approval_is_refused_by_every_process(replicas: Replicas) -> None:
    scene = replicas.scene
    change_approval(
        actor=scene.world.admin, approval=scene.approval, action="suspend", reason="Trained on leaked data"
    )
    for name, seconds in replicas.seconds_until(lambda status: status not in (0, 200)).items():
        print(f"{seconds:6.2f} s  {name}")
    # Nobody takes it back afterwards: no worker of any process, no second look of a cache.
    for name, ask in replicas.asked.items():
        found = {ask() for _ in range(AFTERWARDS)}
        assert found <= {404, 503}, f"{name} answers {found}"
    change_approval(
        actor=scene.world.release_manager, approval=scene.approval, action="resume", reason="False alarm"
    )
    for name, seconds in replicas.seconds_until(lambda status: status == 200).items():
        print(f"{seconds:6.2f} s until served again  {name}")
