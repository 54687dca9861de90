"""The data plane's contract, over HTTP."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from inference.engine import ClassifierConfig, Encoding
from inference.engine.dummy import DummyBackend
from tests.server.conftest import World
from tests.server.control_plane import MODEL_ID, SHA
from tests.server.running import Caller, bearer, eventually, inference_server

SECRET = "Nguyễn Văn A Zwq"


def code_of(response: httpx.Response) -> tuple[int, str]:
    """Status and code, after checking the one error shape."""
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message", "details"}
    assert "Nguyễn" not in response.text
    assert response.headers["X-Request-Id"]
    return response.status_code, body["error"]["code"]


def test_predict_answers_with_the_whole_contract(caller: Caller) -> None:
    response = caller.predict("a good product")
    assert response.status_code == 200
    body = response.json()
    assert body.keys() == {
        "predictions",
        "model_id",
        "commit_sha",
        "channel",
        "variant",
        "device",
        "latency_ms",
        "timings",
        "request_id",
    }
    assert (body["model_id"], body["commit_sha"], body["channel"]) == (MODEL_ID, SHA["v1"], "production")
    assert body["device"] == "cpu"
    assert body["timings"].keys() == {"tokenization_ms", "queue_ms", "inference_ms"}
    assert body["latency_ms"] > 0
    [prediction] = body["predictions"]
    assert prediction.keys() == {"label", "confidence", "token_count", "truncated"}
    assert prediction["label"] in ("negative", "positive")
    assert (prediction["token_count"], prediction["truncated"]) == (5, False)
    assert response.headers["X-Model-Revision"] == SHA["v1"]
    assert response.headers["X-Request-Id"] == body["request_id"]


def test_predict_list_keeps_order_and_equals_single_texts(caller: Caller) -> None:
    texts = ["one", "two words", "now three words", "sản phẩm tốt"]
    together = caller.predict(texts).json()["predictions"]
    alone = [caller.predict(text).json()["predictions"][0] for text in texts]
    assert together == alone


def test_predict_top_k_lists_scores_downwards(caller: Caller) -> None:
    [prediction] = caller.predict("good", parameters={"top_k": 5}).json()["predictions"]
    confidences = [score["confidence"] for score in prediction["scores"]]
    assert len(confidences) == 2
    assert confidences == sorted(confidences, reverse=True)
    assert prediction["scores"][0] == {"label": prediction["label"], "confidence": prediction["confidence"]}


def test_predict_flags_truncation_or_refuses_it(caller: Caller) -> None:
    long = "word " * 50
    [prediction] = caller.predict(long).json()["predictions"]
    assert (prediction["truncated"], prediction["token_count"]) == (True, 16)
    response = caller.predict(long, parameters={"truncate": False})
    assert code_of(response) == (422, "input_too_long")


@pytest.mark.parametrize(
    ("selector", "channel", "version"),
    [
        ("", "production", "v1"),
        ("@production", "production", "v1"),
        ("@staging", "staging", "v2"),
        ("@" + SHA["v1"], "production", "v1"),
        ("@" + SHA["v2"], "staging", "v2"),
    ],
)
def test_predict_selects_by_channel_or_sha(caller: Caller, selector: str, channel: str, version: str) -> None:
    body = caller.predict(model=MODEL_ID + selector).json()
    assert (body["channel"], body["commit_sha"]) == (channel, SHA[version])


@pytest.mark.parametrize(
    "model",
    [
        "acme/unknown",
        "acme/secret",  # served, but to another team
        MODEL_ID + "@nochannel",
        MODEL_ID + "@" + SHA["v3"],
        MODEL_ID + "@main..x/",
        MODEL_ID + "@",
    ],
)
def test_predict_does_not_tell_what_exists_elsewhere(caller: Caller, model: str) -> None:
    status, code = code_of(caller.predict(model=model))
    assert status == 404
    assert code in ("not_served", "not_found")


def test_request_id_is_kept_when_sane_and_replaced_when_not(caller: Caller) -> None:
    assert caller.send(b'{"inputs": "a"}', **{"X-Request-Id": "abc-1"}).headers["X-Request-Id"] == "abc-1"
    assert caller.send(b'{"inputs": "a"}', **{"X-Request-Id": "a b{}"}).headers["X-Request-Id"] != "a b{}"


DEEP = b'{"inputs": ' + b"[" * 40 + b"]" * 40 + b"}"
BAD_BODIES: list[tuple[str, bytes, int, str]] = [
    ("empty body", b"", 422, "invalid_json"),
    ("not JSON", SECRET.encode(), 422, "invalid_json"),
    ("trailing", b'{"inputs": "a"} x', 422, "invalid_json"),
    ("not UTF-8", b'{"inputs": "\xff"}', 422, "invalid_json"),
    ("BOM", b'\xef\xbb\xbf{"inputs": "a"}', 422, "invalid_json"),
    ("array", b"[]", 422, "not_an_object"),
    ("null", b"null", 422, "not_an_object"),
    ("no inputs", b"{}", 422, "missing_field"),
    ("empty list", b'{"inputs": []}', 422, "no_inputs"),
    ("blank text", b'{"inputs": "  "}', 422, "blank_input"),
    ("blank in list", b'{"inputs": ["a", ""]}', 422, "blank_input"),
    ("number", b'{"inputs": 5}', 422, "not_a_string"),
    ("null input", b'{"inputs": null}', 422, "missing_field"),
    ("object input", b'{"inputs": {"texts": "a"}}', 422, "unknown_field"),
    ("number in list", b'{"inputs": ["a", 5]}', 422, "not_a_string"),
    ("list in list", b'{"inputs": [["a"]]}', 422, "bad_pair"),
    ("NaN", b'{"inputs": NaN}', 422, "invalid_number"),
    ("NaN in list", b'{"inputs": ["a", NaN]}', 422, "invalid_number"),
    ("Infinity", b'{"inputs": "a", "parameters": {"top_k": Infinity}}', 422, "invalid_number"),
    ("-Infinity", b'{"inputs": "a", "parameters": {"top_k": -Infinity}}', 422, "invalid_number"),
    ("1e999", b'{"inputs": "a", "parameters": {"top_k": 1e999}}', 422, "invalid_number"),
    (
        "endless integer",
        b'{"inputs": "a", "parameters": {"top_k": ' + b"9" * 5000 + b"}}",
        422,
        "invalid_json",
    ),
    ("duplicate key", b'{"inputs": "a", "inputs": "b"}', 422, "duplicate_key"),
    ("duplicate inside", b'{"inputs": "a", "parameters": {"top_k": 1, "top_k": 2}}', 422, "duplicate_key"),
    ("deep", DEEP, 422, "json_too_deep"),
    ("very deep", b"[" * 500_000, 422, "json_too_deep"),
    ("lone surrogate", b'{"inputs": "a \\ud800 b"}', 422, "bad_unicode"),
    ("unknown field", b'{"inputs": "a", "options": {}}', 422, "unknown_field"),
    ("unknown parameter", b'{"inputs": "a", "parameters": {"temperature": 1}}', 422, "unknown_field"),
    ("parameters a list", b'{"inputs": "a", "parameters": []}', 422, "not_an_object"),
    ("top_k 0", b'{"inputs": "a", "parameters": {"top_k": 0}}', 422, "bad_top_k"),
    ("top_k 101", b'{"inputs": "a", "parameters": {"top_k": 101}}', 422, "bad_top_k"),
    ("top_k true", b'{"inputs": "a", "parameters": {"top_k": true}}', 422, "bad_top_k"),
    ("top_k 1.0", b'{"inputs": "a", "parameters": {"top_k": 1.0}}', 422, "bad_top_k"),
    ("truncate 1", b'{"inputs": "a", "parameters": {"truncate": 1}}', 422, "bad_truncate"),
    ("33 inputs", json.dumps({"inputs": ["a"] * 33}).encode(), 422, "too_many_inputs"),
    ("100,001 chars", json.dumps({"inputs": "a" * 100_001}).encode(), 422, "input_too_large"),
    ("1 MB text", json.dumps({"inputs": "word " * 200_000}).encode(), 422, "input_too_large"),
    ("6 MB", json.dumps({"inputs": "a" * 6_000_000}).encode(), 413, "body_too_large"),
    ("over 2 MB", json.dumps({"inputs": "a" * 2_000_000}).encode(), 413, "body_too_large"),
]


@pytest.mark.parametrize(
    ("body", "status", "code"), [c[1:] for c in BAD_BODIES], ids=[c[0] for c in BAD_BODIES]
)
def test_predict_refuses_a_bad_body(caller: Caller, body: bytes, status: int, code: str) -> None:
    assert code_of(caller.send(body)) == (status, code)
    assert caller.predict().status_code == 200, "the server must be as it was"


def test_predict_takes_the_largest_allowed_request(caller: Caller) -> None:
    response = caller.predict(["word " * 10_000] * 32)
    assert response.status_code == 200
    assert all(prediction["truncated"] for prediction in response.json()["predictions"])
    assert caller.predict("a" * 100_000).status_code == 200


def test_predict_caps_a_body_of_undeclared_length_while_reading(caller: Caller) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield b'{"inputs": "'
        for _ in range(1000):
            sent += 1
            yield b"a" * 100_000

    # The server may answer and close before we have written everything, which is as good.
    with contextlib.suppress(httpx.WriteError, httpx.ReadError):
        assert code_of(caller.send(endless())) == (413, "body_too_large")
    assert sent < 500


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_predict_takes_only_plain_json(caller: Caller, headers: dict[str, str]) -> None:
    assert code_of(caller.send(b'{"inputs": "a"}', **headers)) == (415, "unsupported_media_type")


def test_predict_a_body_that_does_not_arrive_times_out(world: World) -> None:
    def slow() -> Iterator[bytes]:
        yield b'{"inputs": '
        time.sleep(0.5)
        yield b'"a"}'

    with inference_server(world.url, world.cache, limits={"deadline_s": 0.1}) as caller:
        caller.wait_ready()
        assert code_of(caller.send(slow())) == (408, "body_timeout")


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        ("/nothing", "GET", (404, "not_found")),
        (f"/v1/predict/{MODEL_ID}", "GET", (405, "method_not_allowed")),
        ("/v1/predict/onlyorg", "POST", (404, "not_found")),
    ],
)
def test_other_addresses_answer_in_the_same_shape(
    caller: Caller, path: str, method: str, expected: tuple[int, str]
) -> None:
    assert code_of(caller.http.request(method, path)) == expected


def test_limits_shows_what_is_enforced(caller: Caller) -> None:
    shown = caller.get("/limits").json()
    assert (shown["max_body_bytes"], shown["max_inputs"], shown["max_chars_per_input"]) == (
        2_000_000,
        32,
        100_000,
    )


def test_models_lists_only_the_caller_s_team(caller: Caller) -> None:
    lines = caller.get("/v1/models", token="engineer-secret").json()["models"]
    assert [(line["channel"], line["commit_sha"], line["state"]) for line in lines] == [
        ("production", SHA["v1"], "ready"),
        ("staging", SHA["v2"], "ready"),
    ]
    assert lines[0]["labels"] == ["negative", "positive"]
    assert [line["model_id"] for line in caller.get("/v1/models", token="other-team").json()["models"]] == [
        "acme/secret"
    ]
    assert code_of(caller.get("/v1/models"))[0] == 401


def test_probes_need_no_token_and_name_no_model(caller: Caller) -> None:
    assert caller.get("/healthz").status_code == 200
    ready = caller.get("/readyz")
    assert ready.json()["models"] == {"ready": 3, "loading": 0, "failed": 0, "waiting": 0}
    assert "acme" not in ready.text


def test_one_log_line_for_each_request_without_the_text(
    caller: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        caller.predict([SECRET, SECRET, "good"])
        caller.send(SECRET.encode())
        caller.http.post(f"/v1/predict/acme/{SECRET}", headers=bearer("engineer-secret"))
        eventually(lambda: len([r for r in caplog.records if r.message == "request"]) == 3, "three lines")
    lines = [record.__dict__ for record in caplog.records if record.message == "request"]
    # httpx is this test's own client here, and pytest gives uvicorn's switched-off access log a handler
    # again. What the server's process really writes is read in test_process.
    ours = [str(r.__dict__) for r in caplog.records if r.name not in ("httpx", "uvicorn.access")]
    assert not any("Nguyễn" in line or "Zwq" in line for line in ours)
    good = lines[0]
    assert (good["status"], good["inputs"], good["chars"]) == (200, 3, [16, 16, 4])
    assert good["hashes"][0] == good["hashes"][1] != good["hashes"][2]
    assert (good["team"], good["commit_sha"], good["tokens"]) == ("search", SHA["v1"], [6, 6, 3])
    assert (lines[1]["status"], lines[1]["code"]) == (422, "invalid_json")


# A model that misbehaves


@dataclass
class GateBackend(DummyBackend):
    gate: threading.Event = field(default_factory=threading.Event)
    armed: bool = False
    forwards: int = 0
    fill: float | None = None
    failure: Exception | None = None

    def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
        self.forwards += 1
        if self.armed:
            self.gate.wait(10)
        if self.failure:
            raise self.failure
        logits = super().forward(batch)
        return logits if self.fill is None else np.full_like(logits, self.fill)


@pytest.fixture(params=[0, 2], ids=["one process", "web workers"])
def gated(request: pytest.FixtureRequest, world: World) -> Iterator[tuple[GateBackend, Caller]]:
    backend = GateBackend()

    def load(config: ClassifierConfig) -> DummyBackend:
        return backend

    limits = {"deadline_s": 1.0, "max_queued_inputs": 4, "max_inputs": 4, "max_concurrent_requests": 8}
    with inference_server(
        world.url, world.cache, load_backend=load, limits=limits, web_workers=request.param
    ) as caller:
        caller.wait_ready()
        yield backend, caller
        backend.gate.set()


def in_background(count: int, ask: object) -> list[threading.Thread]:
    assert callable(ask)
    threads = [threading.Thread(target=ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize("fill", [float("nan"), float("inf")])
def test_a_non_finite_answer_is_an_error_never_a_label(
    gated: tuple[GateBackend, Caller], fill: float
) -> None:
    backend, caller = gated
    backend.fill = fill
    assert code_of(caller.predict(SECRET)) == (500, "invalid_output")
    backend.fill = None
    assert caller.predict().status_code == 200


def test_a_failing_forward_pass_is_a_typed_error(
    gated: tuple[GateBackend, Caller], caplog: pytest.LogCaptureFixture
) -> None:
    backend, caller = gated
    backend.failure = RuntimeError(SECRET)
    response = caller.predict(SECRET)
    assert code_of(response) == (503, "inference_failed")
    assert response.headers["Retry-After"]
    backend.failure = None
    assert caller.predict().status_code == 200
    assert not any("Nguyễn" in str(record.__dict__) for record in caplog.records)


def test_deadline_answers_504_and_the_waiting_work_is_dropped(gated: tuple[GateBackend, Caller]) -> None:
    backend, caller = gated
    backend.armed = True
    before = backend.forwards
    threads = in_background(2, caller.predict)
    started = time.monotonic()
    assert code_of(caller.predict(SECRET)) == (504, "deadline_exceeded")
    assert 0.9 < time.monotonic() - started < 3
    for thread in threads:
        thread.join(10)
    backend.armed = False
    backend.gate.set()
    assert caller.predict().status_code == 200
    # The first request was running; of those behind it none was computed after its caller had been told 504.
    assert backend.forwards - before <= 3


# With web workers: test_workers.py, which waits for what it needs instead of the clock.
@pytest.mark.parametrize("gated", [0], indirect=True)
def test_full_queue_is_429_with_retry_after_and_quickly(gated: tuple[GateBackend, Caller]) -> None:
    backend, caller = gated
    backend.armed = True
    first = in_background(1, caller.predict)
    eventually(lambda: backend.forwards > 0 and not backend.gate.is_set(), "the first request runs")
    time.sleep(0.1)
    waiting = in_background(4, caller.predict)
    time.sleep(0.2)
    started = time.monotonic()
    response = caller.predict()
    assert code_of(response) == (429, "busy")
    assert int(response.headers["Retry-After"]) >= 1
    assert time.monotonic() - started < 0.5
    backend.gate.set()
    for thread in first + waiting:
        thread.join(10)
    assert caller.predict().status_code == 200


@pytest.mark.parametrize("web_workers", [0, 2])
def test_too_many_requests_at_once_are_429_before_their_bodies_are_read(
    world: World, web_workers: int
) -> None:
    # Of the server, not of each worker: 8 places for 12 who keep theirs.
    limits = {"max_concurrent_requests": 8, "deadline_s": 30.0}
    release = threading.Event()

    def stuck() -> Iterator[bytes]:
        yield b'{"inputs": '
        release.wait(25)
        yield b'"a"}'

    with inference_server(world.url, world.cache, limits=limits, web_workers=web_workers) as caller:
        caller.wait_ready()
        threads = in_background(12, lambda: caller.send(stuck()))
        try:
            # Not by asking the model: who asks holds a place, and one of the twelve might be refused for it.
            full = "assay_requests_in_flight 8.0"
            eventually(lambda: full in caller.get("/metrics").text, "the places never filled", seconds=20)
            assert code_of(caller.predict()) == (429, "busy")
        finally:
            release.set()
            for thread in threads:
                thread.join(30)
        assert caller.predict().status_code == 200


@contextlib.contextmanager
def one_running(
    world: World, web_workers: int
) -> Iterator[tuple[GateBackend, Caller, list[threading.Thread]]]:
    """A server with four places in its queue whose model computes the first request until the gate is set."""
    backend = GateBackend()
    limits = {"deadline_s": 30.0, "max_queued_inputs": 4, "max_inputs": 4}
    with inference_server(
        world.url, world.cache, load_backend=lambda _: backend, limits=limits, web_workers=web_workers
    ) as caller:
        caller.wait_ready()
        backend.armed = True
        before = backend.forwards
        running = in_background(1, caller.predict)
        eventually(lambda: backend.forwards > before, "the first request runs")
        yield backend, caller, running


@pytest.mark.parametrize("web_workers", [0, 2])
def test_a_caller_who_hangs_up_frees_the_place(world: World, web_workers: int) -> None:
    with one_running(world, web_workers) as (backend, caller, running):

        def four_texts_then_hang_up() -> bool:
            """Whether the four places were free; whoever gets them leaves after a moment."""
            with httpx.Client(base_url=caller.http.base_url, timeout=0.3, trust_env=False) as hasty:
                try:
                    answer = hasty.post(
                        f"/v1/predict/{MODEL_ID}",
                        json={"inputs": ["a"] * 4},
                        headers=bearer("engineer-secret"),
                    )
                except httpx.ReadTimeout:
                    return True
                assert answer.status_code == 429
                return False

        # The deadline is far away: only the hanging up can free the places for the second and the third.
        for _ in range(3):
            eventually(four_texts_then_hang_up, "the places of one who left stayed taken")
        backend.gate.set()
        for thread in running:
            thread.join(10)
        assert caller.predict().status_code == 200


def test_quota_of_a_token_is_429(world: World) -> None:
    with inference_server(world.url, world.cache, limits={"requests_per_s": 2.0}) as caller:
        caller.wait_ready()
        answers = [caller.predict().status_code for _ in range(6)]
        assert answers[:4] == [200] * 4
        assert code_of(caller.predict()) == (429, "quota_exceeded")
