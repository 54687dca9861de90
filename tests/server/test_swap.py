"""The manifest changes: swap, rollback, refusal, removal. Over HTTP, with requests going on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inference.engine import ClassifierConfig
from inference.engine.dummy import DummyBackend, load_dummy
from tests.server.conftest import World
from tests.server.control_plane import MODEL_ID, SHA, dummy_files
from tests.server.running import Caller, eventually, inference_server
from tests.server.test_predict import code_of


@contextmanager
def light_load(caller: Caller, callers: int = 3) -> Iterator[list[tuple[int, str]]]:
    """Requests without pause from a few threads; yields (status, revision) of every answer."""
    answers: list[tuple[int, str]] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            response = caller.predict(["good", "a longer text"])
            answers.append((response.status_code, response.json().get("commit_sha", response.text)))

    threads = [threading.Thread(target=ask) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)


def test_swap_and_rollback_under_load_fail_no_request(world: World) -> None:
    # Patient limits: a machine that stands still for seconds is not what is tested.
    limits = {"max_wait_s": 30.0, "deadline_s": 30.0}
    with inference_server(world.url, world.cache, limits=limits) as caller:
        caller.wait_ready()
        with light_load(caller) as answers:
            for version in ("v2", "v1", "v2", "v3", "v2"):
                time.sleep(0.05)
                world.control.serve(world.control.line(version))
                caller.wait_revision(SHA[version])
                # After the first answer of the new revision there is none of an old one.
                mark = len(answers) + 3
                eventually(lambda mark=mark: len(answers) > mark + 10, "the load went on", seconds=30)  # type: ignore[misc]
                assert {sha for _, sha in answers[mark : mark + 10]} == {SHA[version]}
        assert [answer for answer in answers if answer[0] != 200] == []
        assert len(answers) > 50


def test_rollback_to_a_model_in_memory_loads_nothing(world: World) -> None:
    loads: list[str] = []

    def load(config: ClassifierConfig) -> DummyBackend:
        loads.append(config.commit_sha)
        return load_dummy(config)

    with inference_server(world.url, world.cache, load_backend=load) as caller:
        caller.wait_ready()
        for version in ("v2", "v1", "v2"):
            world.control.serve(world.control.line(version))
            caller.wait_revision(SHA[version])
        assert loads == [SHA["v1"], SHA["v2"]]
        # Only the last two stay; v1 then comes from the disk, without the network.
        world.control.serve(world.control.line("v3"))
        caller.wait_revision(SHA["v3"])
        downloads = len(world.control.downloads)
        world.control.serve(world.control.line("v1"))
        caller.wait_revision(SHA["v1"])
        assert loads == [SHA["v1"], SHA["v2"], SHA["v3"], SHA["v1"]]
        assert len(world.control.downloads) == downloads


def test_models_above_the_memory_limit_are_not_kept(world: World) -> None:
    loads: list[str] = []

    def load(config: ClassifierConfig) -> DummyBackend:
        loads.append(config.commit_sha)
        return load_dummy(config)

    with inference_server(world.url, world.cache, load_backend=load, keep_loaded_mb=0) as caller:
        caller.wait_ready()
        for version in ("v2", "v1"):
            world.control.serve(world.control.line(version))
            caller.wait_revision(SHA[version])
    assert loads == [SHA["v1"], SHA["v2"], SHA["v1"]]


@pytest.mark.parametrize("damage", ["flipped", "truncated", "longer", "missing"])
def test_bytes_that_were_not_approved_are_refused_while_the_old_serves(world: World, damage: str) -> None:
    control = world.control
    good = control.files[MODEL_ID, SHA["v2"], "model.safetensors"]
    line = control.line("v2")
    bad = {"flipped": b"X" + good[1:], "truncated": good[:-1], "longer": good + b"X", "missing": None}[damage]
    if bad is None:
        del control.files[MODEL_ID, SHA["v2"], "model.safetensors"]
    else:
        control.files[MODEL_ID, SHA["v2"], "model.safetensors"] = bad
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        control.serve(line)
        eventually(
            lambda: control.last_states().get(("production", SHA["v2"]), ("", ""))[0] == "failed", "reported"
        )
        error = control.last_states()["production", SHA["v2"]][1]
        assert error is not None
        assert error.startswith("artifact_unavailable" if damage == "missing" else "integrity_error")
        [reported] = control.last_lines()
        assert reported["serving_commit_sha"] == SHA["v1"]
        assert caller.predict().json()["commit_sha"] == SHA["v1"]
        assert caller.get("/readyz").status_code == 200
        eventually(lambda: not list((world.cache / "tmp").iterdir()), "nothing is left between two tries")
        # Healed at the source, it is taken without anybody's help.
        control.files[MODEL_ID, SHA["v2"], "model.safetensors"] = good
        caller.wait_revision(SHA["v2"])


def test_a_corrupt_cached_file_is_fetched_again(world: World) -> None:
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
    blobs = [path for path in (world.cache / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == 3, "only what loading reads is fetched"
    for blob in blobs:
        blob.chmod(0o644)
        blob.write_bytes(b"X" * blob.stat().st_size)
    world.control.downloads.clear()
    with inference_server(world.url, world.cache) as caller:
        caller.wait_revision(SHA["v1"])
    assert sorted(world.control.downloads) == ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        ("config.json", "no_config"),
        ("tokenizer.json", "no_tokenizer"),
        ("model.safetensors", "no_safetensors"),
    ],
)
def test_a_revision_that_cannot_load_never_replaces_one_that_serves(
    world: World, spoil: str, code: str
) -> None:
    control = world.control
    del control.files[MODEL_ID, SHA["v2"], spoil]
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        control.serve(control.line("v2"))
        eventually(
            lambda: control.last_states().get(("production", SHA["v2"]), ("", ""))[0] == "failed", "reported"
        )
        error = control.last_states()["production", SHA["v2"]][1]
        assert error is not None
        assert error.startswith(code)
        assert str(world.cache) not in error
        assert caller.predict().json()["commit_sha"] == SHA["v1"]
        eventually(lambda: len(list((world.cache / "snapshots").iterdir())) == 1, "the failed folder is gone")


def test_a_load_that_hangs_is_given_up_while_the_old_serves(world: World) -> None:
    release = threading.Event()

    def load(config: ClassifierConfig) -> DummyBackend:
        if config.commit_sha == SHA["v2"]:
            release.wait(10)
        return load_dummy(config)

    with inference_server(world.url, world.cache, load_backend=load, load_timeout_s=0.2) as caller:
        caller.wait_ready()
        world.control.serve(world.control.line("v2"))
        eventually(
            lambda: "load_timeout" in str(world.control.last_states().get(("production", SHA["v2"]))),
            "reported",
        )
        assert caller.predict().json()["commit_sha"] == SHA["v1"]
        release.set()
        caller.wait_revision(SHA["v2"])


def test_a_model_never_loaded_is_503_and_another_serves(world: World) -> None:
    control = world.control
    control.add_revision("v2", {"config.json": b"{"}, model_id="acme/broken")
    control.serve(control.line("v1"), control.line("v2", model_id="acme/broken"))
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        assert caller.predict().status_code == 200
        assert code_of(caller.predict(model="acme/broken")) == (503, "model_unavailable")


def test_while_the_first_model_loads_it_is_503_and_not_ready(world: World) -> None:
    world.control.download_gate.clear()
    with inference_server(world.url, world.cache) as caller:
        eventually(lambda: caller.get("/readyz").json()["reason"] == "loading", "loading")
        assert caller.get("/healthz").status_code == 200
        response = caller.predict()
        assert code_of(response) == (503, "model_loading")
        assert response.headers["Retry-After"]
        world.control.download_gate.set()
        caller.wait_ready()
        assert caller.predict().status_code == 200


def test_a_model_added_later_does_not_take_the_replica_out_of_service(world: World) -> None:
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        world.control.download_gate.clear()
        world.control.serve(world.control.line("v1"), world.control.line("v2", channel="staging"))
        eventually(lambda: caller.get("/readyz").json()["models"]["loading"] == 1, "staging loads")
        assert caller.get("/readyz").status_code == 200
        world.control.download_gate.set()
        caller.wait_revision(SHA["v2"], model=MODEL_ID + "@staging")


def test_a_model_taken_off_the_manifest_stops_at_once(world: World) -> None:
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        world.control.serve()
        eventually(lambda: caller.predict().status_code == 404, "gone")
        assert caller.get("/readyz").json()["models"] == {"ready": 0, "loading": 0, "failed": 0, "waiting": 0}
        eventually(lambda: not list((world.cache / "snapshots").iterdir()), "the snapshot folder is gone")


def test_a_blocked_revision_stops_although_its_successor_cannot_load(world: World) -> None:
    control = world.control
    del control.files[MODEL_ID, SHA["v2"], "config.json"]
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        control.blocked = [{"model_id": MODEL_ID, "commit_sha": SHA["v1"]}]
        control.serve(control.line("v2"))
        eventually(lambda: caller.predict().status_code == 503, "v1 stopped")
        # A manifest that contradicts itself serves nothing rather than the blocked revision.
        control.serve(control.line("v1"))
        eventually(lambda: caller.predict().status_code == 404, "v1 stays blocked")


def test_teams_with_the_same_revision_share_one_model(world: World) -> None:
    loads: list[str] = []

    def load(config: ClassifierConfig) -> DummyBackend:
        loads.append(config.commit_sha)
        return load_dummy(config)

    world.control.serve(*(world.control.line("v1", team=team) for team in ("search", "ads")))
    with inference_server(world.url, world.cache, load_backend=load) as caller:
        caller.wait_ready()
        assert caller.predict().status_code == caller.predict(token="other-team").status_code == 200
        world.control.serve(world.control.line("v1", team="search"))
        eventually(lambda: caller.predict(token="other-team").status_code == 404, "ads lost it")
        assert caller.predict().status_code == 200
    assert loads == [SHA["v1"]]


def test_report_tells_what_serves(world: World) -> None:
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        eventually(
            lambda: world.control.last_states() == {("production", SHA["v1"]): ("ready", None)}, "reported"
        )
    report = world.control.reports[-1]
    assert report.keys() == {"replica", "generation", "models"}
    assert report["models"][0].keys() == {
        "team",
        "model_id",
        "channel",
        "commit_sha",
        "state",
        "error",
        "since",
        "serving_commit_sha",
    }
    assert report["models"][0]["state"] == "ready"


def test_manifest_is_asked_for_with_its_etag(world: World) -> None:
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        eventually(lambda: world.control.manifest_hits[304] > 3, "polled")
    assert world.control.manifest_hits[200] == 1


BAD_MANIFESTS: list[Any] = [
    [],
    {},
    {"generation": "g", "models": [{}]},
    {"generation": "g", "models": "all"},
    {"models": []},
]


def test_a_wrong_manifest_changes_nothing(world: World) -> None:
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        for manifest in BAD_MANIFESTS:
            hits = world.control.manifest_hits[200]
            world.control.raw_manifest = manifest
            eventually(lambda hits=hits: world.control.manifest_hits[200] > hits + 1, "fetched")  # type: ignore[misc]
            assert caller.predict().json()["commit_sha"] == SHA["v1"], manifest


def test_the_control_plane_away_changes_nothing(world: World) -> None:
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        caller.predict()
        world.control.down = True
        time.sleep(0.3)
        assert caller.predict().status_code == 200
        assert caller.get("/readyz").status_code == 200
        world.control.serve(world.control.line("v2"))
        world.control.down = False
        caller.wait_revision(SHA["v2"])


def test_restart_while_the_control_plane_is_gone_serves_the_last_manifest(world: World) -> None:
    """Gone, not only failing: nothing listens at its address, and the tokens seen before still work."""
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        assert caller.predict().status_code == 200
    with inference_server("http://127.0.0.1:9", world.cache) as caller:
        caller.wait_ready()
        assert caller.predict().json()["commit_sha"] == SHA["v1"]
        assert code_of(caller.predict(token="never-seen")) == (503, "auth_unavailable")


def test_start_without_manifest_or_control_plane_is_alive_but_not_ready(tmp_path: Path) -> None:
    with inference_server("http://127.0.0.1:9", tmp_path) as caller:
        assert caller.get("/healthz").status_code == 200
        response = caller.get("/readyz")
        assert (response.status_code, response.json()["reason"]) == (503, "no_manifest")


def test_a_spoiled_stored_manifest_is_no_reason_not_to_start(world: World) -> None:
    world.cache.mkdir()
    (world.cache / "manifest.json").write_text('{"models": 5}')
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        assert caller.predict().status_code == 200


def test_an_empty_manifest_is_ready_and_serves_nothing(world: World) -> None:
    world.control.serve()
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        assert code_of(caller.predict()) == (404, "not_served")


def test_a_model_that_drifts_is_found_by_its_canary_and_loaded_anew(world: World) -> None:
    backends: list[DummyBackend] = []

    def load(config: ClassifierConfig) -> DummyBackend:
        backends.append(load_dummy(config))
        return backends[-1]

    with inference_server(world.url, world.cache, load_backend=load, check_s=0.05) as caller:
        caller.wait_ready()
        expected = caller.predict().json()["predictions"]
        backends[0].salt = 5
        eventually(lambda: len(backends) == 2, "loaded anew")
        caller.wait_ready()
        assert caller.predict().json()["predictions"] == expected


def test_a_model_that_answers_otherwise_after_a_restart_does_not_serve(world: World) -> None:
    """Same files, other answers: another library, a broken processor. The stored canary notices."""
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()

    def load(config: ClassifierConfig) -> DummyBackend:
        backend = load_dummy(config)
        backend.salt += 5
        return backend

    with inference_server(world.url, world.cache, load_backend=load) as caller:
        eventually(lambda: "canary_failed" in str(world.control.last_states()), "reported")
        assert caller.get("/readyz").json()["reason"] == "no_model_ready"


def test_another_task_is_refused_with_a_sentence(world: World) -> None:
    world.control.add_revision("v3", dummy_files(9), model_id="acme/writer")
    world.control.serve(
        world.control.line("v1"), world.control.line("v3", model_id="acme/writer", task="text-generation")
    )
    with inference_server(world.url, world.cache) as caller:
        caller.wait_ready()
        eventually(lambda: "unsupported_task" in str(world.control.last_states()), "reported")
        assert caller.predict().status_code == 200
