"""A registry with one model, its approved revision in production, and a newer one that nobody has approved."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if (
    TYPE_CHECKING
):  # factories can be imported once pytest has configured Django's settings, and this file comes first
    from tests.factories import Api, World
    from tests.gateway.scene import HubClient, Scene


@pytest.fixture(autouse=True)
def heal_bells(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The digests that a worker was asked to heal."""
    from registry.tasks import heal_blob

    rung: list[str] = []

    def ring(args: tuple[str], queue: str) -> None:
        rung.append(args[0])

    monkeypatch.setattr(heal_blob, "apply_async", ring)
    return rung


@pytest.fixture
def scene(world: World) -> Scene:
    from tests.gateway.scene import FILES, QUARANTINED, set_scene

    return set_scene(world, FILES, {**FILES, "config.json": b"{}"}, **QUARANTINED)


@pytest.fixture
def hub(scene: Scene) -> Api:
    """The Hub endpoint with the token of somebody who may read."""
    from tests.factories import Api

    return Api.of(scene.world.viewer, ["read", "artifacts"])


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A real, tiny classifier: path -> bytes."""
    from tests.engine.tiny import build_tiny

    folder = build_tiny(tmp_path_factory.mktemp("tiny"))
    # Today's transformers writes a class name that transformers 4 does not know; both know this one.
    config = folder / "tokenizer_config.json"
    config.write_text(
        json.dumps({**json.loads(config.read_text()), "tokenizer_class": "PreTrainedTokenizerFast"})
    )
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def live_scene(
    live_server: Any, tiny_files: dict[str, bytes], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    """The scene with the real classifier, behind a real server, with the thread that counts downloads."""
    from registry.gateway import consumers
    from tests.factories import make_world
    from tests.gateway.scene import set_scene

    settings.PUBLIC_URL = live_server.url
    monkeypatch.setattr(consumers, "in_background", True)
    monkeypatch.setattr(consumers, "FLUSH_S", 0.2)
    readme = {"README.md": b"---\nlicense: apache-2.0\n---\n# Tiny\n"}
    newer = {**tiny_files, **readme, "config.json": tiny_files["config.json"] + b"\n"}
    yield set_scene(make_world(), {**tiny_files, **readme}, newer)
    end = time.monotonic() + 10
    while consumers._flusher is not None and time.monotonic() < end:
        time.sleep(0.05)


@pytest.fixture
def client(live_scene: Scene, live_server: Any, tmp_path: Path) -> HubClient:
    from tests.factories import make_token
    from tests.gateway.scene import HubClient

    home = tmp_path / "home"
    home.mkdir()
    return HubClient(
        f"{live_server.url}/hub", make_token(live_scene.world.viewer, ["read", "artifacts"]), home
    )
