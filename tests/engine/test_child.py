"""The job child: JSON in, JSON lines out.

Starting it costs seconds of imports, so what does not need a process of its own runs in this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from inference.engine.child import run_job
from tests.engine.tiny import COMMIT_SHA, LABELS, LINES, MODEL_ID

SECRET = "Nguyễn Văn A 4111"
ENVIRONMENT = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


def job(kind: str, snapshot: Path, **params: Any) -> dict[str, Any]:
    return {
        "kind": kind,
        "snapshot": str(snapshot),
        "model_id": MODEL_ID,
        "commit_sha": COMMIT_SHA,
        "limits": {"memory_mb": 4096, "cpu_s": 120},
        "params": params,
    }


def run(body: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> tuple[int, list[dict[str, Any]]]:
    """Exit status and events of a job run inside this process, without its limits."""
    events: list[dict[str, Any]] = []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    status = run_job(json.dumps(body).encode(), events.append, contain=lambda **limits: None)
    assert SECRET not in json.dumps(events, ensure_ascii=False)
    return status, events


def run_process(body: dict[str, Any] | str, **environment: str) -> tuple[int, list[dict[str, Any]], str]:
    """Exit status, events, log. The log must never hold the secret, whatever the outcome."""
    done = subprocess.run(
        [sys.executable, "-m", "inference.engine.child"],
        input=body if isinstance(body, str) else json.dumps(body),
        capture_output=True,
        text=True,
        timeout=60,
        env=ENVIRONMENT | environment,
        check=False,
    )
    assert SECRET not in done.stdout + done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


@pytest.mark.service
def test_benchmark_measures_the_grid_and_the_summary(snapshot: Path) -> None:
    body = job(
        "benchmark",
        snapshot,
        texts=[SECRET, *LINES],
        batch_sizes=[1, 4],
        max_lengths=[16, 128],
        repeats=2,
        warmup=1,
    )
    status, events, log = run_process(body)
    assert status == 0, log
    assert [event["event"] for event in events].count("result") == 1
    result = events[-1]["result"]
    assert {"step": "measure", "done": 4, "total": 4, "event": "progress"} in events
    assert [(c["max_length"], c["batch_size"]) for c in result["grid"]] == [
        (16, 1),
        (16, 4),
        (128, 1),
        (128, 4),
    ]
    assert [c["effective_max_length"] for c in result["grid"]] == [16, 16, 64, 64]
    for cell in result["grid"]:
        assert 0 < cell["latency_p50_ms"] <= cell["latency_p95_ms"]
        assert cell["tokens_s"] > cell["throughput_texts_s"] > 0
    assert 0 < result["latency_p50_ms"] <= result["latency_p95_ms"] <= result["latency_p99_ms"]
    assert result["throughput_texts_s"] == max(
        c["throughput_texts_s"] for c in result["grid"] if c["max_length"] == 128
    )
    assert (result["schema"], result["texts"], result["repeats"], result["max_vram_mb"]) == (1, 7, 2, None)
    assert result["cold_start_s"] > 0
    assert result["max_rss_mb"] > 50
    assert result["hardware"]["cores"] >= 1
    assert result["hardware"]["device"] == "cpu"
    assert {"torch", "transformers", "python"} <= result["versions"].keys()


def test_evaluation_predicts_every_example(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    examples = [{"id": i, "inputs": line, "reference": LABELS[i % 3]} for i, line in enumerate(LINES)]
    body = job("evaluation", snapshot, examples=examples, batch_size=4, max_length=16)
    status, events = run(body, monkeypatch)
    assert status == 0
    result = events[-1]["result"]
    assert result["labels"] == list(LABELS)
    assert [row["id"] for row in result["predictions"]] == list(range(len(LINES)))
    assert all(row["prediction"] in LABELS and 0 < row["confidence"] <= 1 for row in result["predictions"])
    assert {"event": "progress", "step": "evaluate", "done": 6, "total": 6} in events


def test_evaluation_names_a_label_the_model_does_not_have(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [{"id": 1, "inputs": SECRET, "reference": "furious"}]
    status, events = run(job("evaluation", snapshot, examples=examples), monkeypatch)
    assert status == 1
    assert events[-1]["code"] == "unknown_label"
    assert "furious" in events[-1]["message"]
    assert all(label in events[-1]["message"] for label in LABELS)


def test_tokenizer_facts_need_no_weights(spoiled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (spoiled / "model.safetensors").unlink()
    status, events = run(job("tokenizer_facts", spoiled, probe_texts=LINES), monkeypatch)
    assert status == 0
    facts = events[-1]["result"]
    assert facts["vocab_size"] > 50
    assert (facts["model_max_length"], facts["padding_side"]) == (512, "right")
    assert facts["special_tokens"]["cls_token"] == "[CLS]"


def test_tokenizer_facts_notice_a_changed_tokenizer(
    snapshot: Path, spoiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = spoiled / "tokenizer.json"
    path.write_text(path.read_text().replace('"lowercase": true', '"lowercase": false'))
    digests = [
        run(job("tokenizer_facts", folder, probe_texts=["The Delivery"]), monkeypatch)[1][-1]["result"][
            "probe_digest"
        ]
        for folder in (snapshot, snapshot, spoiled)
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"params": {"examples": [{"id": 7, "inputs": "  ", "reference": "neutral"}]}}, "invalid_example"),
        ({"params": {"examples": []}}, "bad_request"),
        ({"params": {"examples": [{"id": 7}]}}, "bad_request"),
        ({"snapshot": "/nonexistent"}, "no_snapshot"),
    ],
)
def test_child_answers_a_bad_job_with_a_typed_error(
    snapshot: Path, change: dict[str, Any], code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [{"id": 1, "inputs": SECRET, "reference": "neutral"}]
    status, events = run(job("evaluation", snapshot, examples=examples) | change, monkeypatch)
    assert (status, events[-1]["event"], events[-1]["code"]) == (1, "error", code)


@pytest.mark.parametrize("body", ["", "[]", "{", '{"kind": "dance"}', '{"kind": "benchmark", "extra": 1}'])
def test_child_refuses_what_is_no_job(body: str) -> None:
    status, events, _ = run_process(body)
    assert (status, [event["code"] for event in events]) == (2, ["bad_request"])


def test_child_refuses_to_start_when_it_might_reach_the_hub(snapshot: Path) -> None:
    status, events, _ = run_process(job("benchmark", snapshot, texts=["a"]), HF_HUB_OFFLINE="0")
    assert (status, [event["code"] for event in events]) == (2, ["not_offline"])


@pytest.mark.parametrize(
    "failure",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to")],
)
def test_child_out_of_memory_says_so(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr("inference.engine.packed.backend.PackedBackend.forward", fail)
    monkeypatch.setattr("inference.engine.classifier.TextClassifier.warm_up", lambda self: None)
    examples = [{"id": 1, "inputs": SECRET, "reference": "neutral"}]
    status, events = run(job("evaluation", snapshot, examples=examples), monkeypatch)
    assert (status, events[-1]["code"]) == (1, "memory_limit")


def test_an_unexpected_failure_is_reported_without_its_message(
    snapshot: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise KeyError(SECRET)

    monkeypatch.setattr("inference.engine.packed.backend.PackedBackend.encode", fail)
    examples = [{"id": 1, "inputs": SECRET, "reference": "neutral"}]
    status, events = run(job("evaluation", snapshot, examples=examples), monkeypatch)
    assert (status, events[-1]["code"]) == (1, "internal")
    assert "KeyError" in events[-1]["message"]
    assert SECRET not in caplog.text


def test_apply_limits_bounds_memory_and_processor_time() -> None:
    code = (
        "from inference.engine.containment import CpuLimitReached, apply_limits\n"
        "apply_limits(memory_mb=200, cpu_s=1)\n"
        "try:\n    bytearray(400 * 1024 * 1024)\nexcept MemoryError:\n    print('memory')\n"
        "def burn():\n    while True: sum(range(1000))\n"
        "try:\n    burn()\nexcept CpuLimitReached:\n    print('cpu')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.split() == ["memory", "cpu"]


@pytest.mark.service
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's")
def test_child_dies_with_its_parent(snapshot: Path) -> None:
    """A worker that is killed outright leaves no process behind."""
    body = json.dumps(job("benchmark", snapshot, texts=["good"], repeats=1_000_000))
    parent_code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'inference.engine.child'], stdin=subprocess.PIPE)\n"
        "child.stdin.write(sys.stdin.buffer.read()); child.stdin.close()\n"
        "print('started', child.pid, flush=True); child.wait()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", parent_code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(body)
        parent.stdin.close()
        child = psutil.Process(int(parent.stdout.readline().split()[1]))
        # The first event proves that the child has set itself up.
        assert json.loads(parent.stdout.readline())["event"] == "progress"
        parent.kill()
        deadline = time.monotonic() + 10
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline, "the child outlived its parent"
            time.sleep(0.05)
