"""The sample configuration of config/nginx, run by a real nginx before a real server: the same answers as without it."""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks import front
from registry import store
from registry.services.approvals import change_approval
from tests.factories import MODEL_ID, SHA_A, SHA_B, make_token
from tests.gateway.scene import HubClient, Scene, spoil

pytestmark = [
    pytest.mark.service,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(front.NGINX is None, reason="nginx is not installed (apt-get install nginx-light)"),
]
WEIGHTS = f"/hub/{MODEL_ID}/resolve/main/model.safetensors"
# nginx's own: its name, the moment, and how it says that a connection stays open.
ITS_OWN = {"server", "date", "connection", "keep-alive", "vary", "transfer-encoding"}


@dataclass
class Front:
    """`through` nginx, and `direct` at the web process as it answers without a front server."""

    scene: Scene
    settings: Any
    web: str
    address: str
    token: str

    def through(self, path: str, verb: str = "GET", **headers: str) -> httpx.Response:
        return self._ask(self.address, "/assay-store/", path, verb, headers)

    def direct(self, path: str, verb: str = "GET", **headers: str) -> httpx.Response:
        return self._ask(self.web, "", path, verb, headers)

    def _ask(self, base: str, accel: str, path: str, verb: str, headers: dict[str, str]) -> httpx.Response:
        self.settings.ACCEL = accel
        headers = {"Authorization": f"Bearer {self.token}", "Accept-Encoding": "identity", **headers}
        return httpx.request(verb, base + path, headers=headers, trust_env=False)


@pytest.fixture
def fronted(live_scene: Scene, live_server: Any, settings: Any, tmp_path: Path) -> Iterator[Front]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    web = live_server.url.removeprefix("http://")
    settings.ACCEL = "/assay-store/"
    with front.nginx(tmp_path / "nginx", front.sample(port=port, web=web, store=store.root()), port):
        token = make_token(live_scene.world.viewer, ["read", "artifacts"])
        yield Front(live_scene, settings, live_server.url, f"http://127.0.0.1:{port}", token)


def headers_of(answer: httpx.Response) -> dict[str, list[str]]:
    """Every header but nginx's own, each with all of its values: a doubled one is seen. A request's id is another each time."""
    found = {name.lower(): answer.headers.get_list(name) for name in answer.headers}
    return {
        name: [f"{len(value)} digits" for value in values] if name == "x-request-id" else values
        for name, values in found.items()
        if name not in ITS_OWN
    }


@pytest.mark.parametrize("verb", ["GET", "HEAD"])
def test_bytes_and_headers_are_those_of_the_web_process(fronted: Front, verb: str) -> None:
    for file in fronted.scene.approved.files.select_related("blob"):
        path = f"/hub/{MODEL_ID}/resolve/main/{file.path}"
        ours, its = fronted.direct(path, verb), fronted.through(path, verb)
        assert (its.status_code, its.content) == (ours.status_code, ours.content) and its.status_code == 200
        assert headers_of(its) == headers_of(ours)
        assert verb == "HEAD" or hashlib.sha256(its.content).hexdigest() == file.blob_id


def test_it_is_nginx_that_sends_the_bytes(fronted: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.gateway.files._Sending", None)  # whatever streams through Python fails
    answer = fronted.through(WEIGHTS)
    assert answer.status_code == 200 and answer.headers["server"].startswith("nginx")
    assert len(answer.content) == int(answer.headers["x-linked-size"])


def test_json_and_refusals_pass_unchanged(fronted: Front) -> None:
    for path in (
        f"/hub/api/models/{MODEL_ID}", f"/hub/api/models/{MODEL_ID}/tree/main", f"/hub/{MODEL_ID}/resolve/{SHA_B}/config.json",
        f"/hub/{MODEL_ID}/resolve/main/no.such", "/hub/api/models/acme/unknown",
    ):  # fmt: skip
        ours, its = fronted.direct(path), fronted.through(path)
        assert (its.status_code, its.content, headers_of(its)) == (
            ours.status_code,
            ours.content,
            headers_of(ours),
        )


@pytest.mark.parametrize("asked", ["bytes=0-9", "bytes=100-", "bytes=-10", "bytes=5-5"])
def test_range_gives_the_same_piece(fronted: Front, asked: str) -> None:
    ours, its = fronted.direct(WEIGHTS, Range=asked), fronted.through(WEIGHTS, Range=asked)
    assert (its.status_code, its.content) == (206, ours.content)
    # nginx does not say Accept-Ranges where it has just proved it.
    assert headers_of(its) == {k: v for k, v in headers_of(ours).items() if k != "accept-ranges"}


def test_range_behind_the_end_gives_no_byte(fronted: Front) -> None:
    size = fronted.scene.approved.files.get(path="model.safetensors").blob.size
    answer = fronted.through(WEIGHTS, Range=f"bytes={size}-")
    assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")


def test_internal_location_is_closed_to_clients(fronted: Front) -> None:
    """Neither its name, nor a trick with it, nor a client's own X-Accel-Redirect opens a blob."""
    sha256 = fronted.scene.approved.files.get(path="config.json").blob_id
    inside = f"assay-store/{sha256[:2]}/{sha256[2:4]}/{sha256}"
    secret = (store.root() / sha256[:2] / sha256[2:4] / sha256).read_bytes()
    for path in (
        f"/{inside}", f"//{inside}", f"/./{inside}", f"/hub/../{inside}", f"/{inside.replace('a', '%61', 1)}",
        "/assay-store/", "/assay-store/../nginx/nginx.conf", "/assay-store../nginx/nginx.conf",
    ):  # fmt: skip
        for token in (fronted.token, "wrong"):
            answer = _raw(fronted, path, token)
            assert (
                answer[0] in (302, 400, 404)
                and secret not in answer[1]
                and b"worker_processes" not in answer[1]
            ), path
    health = fronted.through("/healthz", **{"X-Accel-Redirect": f"/{inside}"})
    assert secret not in health.content


def _raw(fronted: Front, path: str, token: str) -> tuple[int, bytes]:
    """As written: a client library would tidy the path."""
    host, port = fronted.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            f"GET {path} HTTP/1.0\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_revoked_revision_is_refused(fronted: Front) -> None:
    assert fronted.through(WEIGHTS).status_code == 200
    for action in ("suspend", "revoke"):
        change_approval(
            actor=fronted.scene.world.admin,
            approval=fronted.scene.approval,
            action=action,
            reason="Leaked data",
        )
    for path in (WEIGHTS, f"/hub/{MODEL_ID}/resolve/{SHA_A}/model.safetensors"):
        answer = fronted.through(path)
        assert answer.status_code == 404 and "Leaked data" in answer.headers["x-error-message"]
        assert answer.headers["x-error-code"] == "RevisionNotFound"


def test_damaged_file_is_not_served(fronted: Front) -> None:
    def flip(place: Path) -> None:
        data = bytearray(place.read_bytes())
        data[-1] ^= 1
        place.write_bytes(data)

    assert fronted.through(WEIGHTS).status_code == 200
    spoil(fronted.scene.approved, "model.safetensors", flip)
    answer = fronted.through(WEIGHTS)
    assert answer.status_code == 503 and answer.json()["error"].startswith("model.safetensors: ")


def test_link_in_place_of_a_file_is_not_served(fronted: Front, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"

    def link(place: Path) -> None:
        place.rename(elsewhere)
        place.symlink_to(elsewhere)

    spoil(fronted.scene.approved, "config.json", link)
    assert fronted.through(f"/hub/{MODEL_ID}/resolve/main/config.json").status_code == 503


def test_unmodified_client_downloads_through_it(fronted: Front, tmp_path: Path) -> None:
    home = tmp_path / "home-of-client"
    home.mkdir()
    client = HubClient(f"{fronted.address}/hub", fronted.token, home)
    said = client.python_says(
        "import json, sys\nfrom pathlib import Path\nfrom huggingface_hub import snapshot_download\n"
        f"folder = Path(snapshot_download({MODEL_ID!r}))\n"
        "print(json.dumps([folder.name, sorted(p.name for p in folder.iterdir())]))"
    )
    names = sorted(fronted.scene.approved.files.values_list("path", flat=True))
    assert json.loads(said.splitlines()[-1]) == [SHA_A, names]
