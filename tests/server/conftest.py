"""One control plane for each test, and one server for the tests that change nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from tests.server.control_plane import FakeControlPlane, dummy_files
from tests.server.running import Caller, inference_server, running


@dataclass
class World:
    """A control plane that runs, with revisions v1, v2 and v3 stored and v1 in production."""

    control: FakeControlPlane
    url: str
    cache: Path


def make_world(control: FakeControlPlane, url: str, cache: Path) -> World:
    for salt, version in enumerate(("v1", "v2", "v3")):
        control.add_revision(version, dummy_files(salt))
    control.serve(control.line("v1"))
    return World(control, url, cache)


class Switch:
    """One listening socket for all tests; each puts its own control plane behind it (a start costs 0.3 s)."""

    control = FakeControlPlane()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.control.app(scope, receive, send)


@pytest.fixture(scope="session")
def switch() -> Iterator[tuple[Switch, str]]:
    switch = Switch()
    with running(switch) as url:
        yield switch, url


@pytest.fixture
def world(switch: tuple[Switch, str], tmp_path: Path) -> World:
    switch[0].control = FakeControlPlane()
    return make_world(switch[0].control, switch[1], tmp_path / "cache")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Caller]]:
    """A server with v1 in production, v2 in staging, and another team's model."""
    control = FakeControlPlane()
    with running(control.app) as url:
        world = make_world(control, url, tmp_path_factory.mktemp("shared"))
        control.add_revision("v3", dummy_files(3), model_id="acme/secret")
        control.serve(
            control.line("v1"),
            control.line("v2", channel="staging"),
            control.line("v3", team="ads", model_id="acme/secret"),
        )
        with inference_server(url, world.cache) as caller:
            caller.wait_ready()
            yield world, caller


@pytest.fixture
def caller(shared: tuple[World, Caller]) -> Caller:
    return shared[1]
