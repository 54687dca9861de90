"""Several models under a memory budget: what is asked for comes in, what nobody uses goes, production stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from inference.server import memory
from tests.server.control_plane import FakeControlPlane, dummy_files
from tests.server.running import Caller, eventually, inference_server, running

WEIGHTS = sum(len(dummy_files()[name]) for name in ("config.json", "tokenizer.json", "model.safetensors"))
LIVE, FIRST, SECOND = "acme/live", "acme/first@staging", "acme/second@staging"


@dataclass
class Place:
    control: FakeControlPlane
    url: str
    cache: Path


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    control = FakeControlPlane()
    lines = []
    for name, channel in (("live", "production"), ("first", "staging"), ("second", "staging")):
        control.add_revision("v1", dummy_files(), model_id=f"acme/{name}")
        lines.append(control.line("v1", model_id=f"acme/{name}", channel=channel))
    control.serve(*lines)
    with running(control.app) as url:
        yield Place(control, url, tmp_path / "cache")


def budget_for(models: float) -> float:
    return models * WEIGHTS / 1e6


def states(caller: Caller) -> dict[str, str]:
    answer = caller.get("/v1/models", "engineer-secret").json()["models"]
    return {line["model_id"].removeprefix("acme/"): line["state"] for line in answer}


def test_what_does_not_fit_waits_until_it_is_asked_for(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "IDLE_S", 0.0)
    with inference_server(place.url, place.cache, memory_budget_mb=budget_for(2.5)) as caller:
        caller.wait_ready()
        eventually(lambda: sorted(states(caller).values()) == ["ready", "ready", "waiting"], "no one waits")
        assert states(caller)["live"] == "ready"
        waiting = FIRST if states(caller)["first"] == "waiting" else SECOND
        other = SECOND if waiting == FIRST else FIRST
        refusal = caller.predict(model=waiting)
        assert (refusal.status_code, refusal.json()["error"]["code"]) == (503, "model_loading")
        assert refusal.headers["Retry-After"]
        eventually(lambda: caller.predict(model=waiting).status_code == 200, "it was never loaded")
        assert states(caller)[other.split("@")[0].removeprefix("acme/")] == "waiting"
        assert caller.predict(model=LIVE).status_code == 200


def test_a_model_in_use_is_not_pushed_out(place: Place) -> None:
    with inference_server(place.url, place.cache, memory_budget_mb=budget_for(2.5)) as caller:
        caller.wait_ready()
        eventually(lambda: sorted(states(caller).values()) == ["ready", "ready", "waiting"], "no one waits")
        waiting, used = (FIRST, SECOND) if states(caller)["first"] == "waiting" else (SECOND, FIRST)
        for _ in range(20):
            assert caller.predict(model=used).status_code == 200
            assert caller.predict(model=waiting).status_code == 503


def test_protected_channels_are_never_evicted_and_say_when_they_do_not_fit(place: Place) -> None:
    with inference_server(
        place.url, place.cache, memory_budget_mb=budget_for(1.5), protected_channels=("production", "staging")
    ) as caller:
        eventually(lambda: sorted(states(caller).values()) == ["failed", "failed", "ready"], "no refusal")
        reasons = {line["error"] for line in place.control.last_lines() if line["state"] == "failed"}
        assert all(reason and reason.startswith("memory_budget: It needs") for reason in reasons)


def test_without_a_budget_everything_is_loaded(place: Place) -> None:
    with inference_server(place.url, place.cache) as caller:
        eventually(lambda: set(states(caller).values()) == {"ready"}, "not everything loaded")
