"""Asking for measurements, and what their handlers make of a model process: real ones, in a child, on a tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.db import connection
from pytest_django import Settings

from inference import child
from inference.models import EvaluationPrediction, GoldenSet
from inference.services.measurements import BENCHMARK, request_measurements
from registry import jobs, store
from registry.canonical import sha256_json
from registry.models import Evidence, Job, Revision
from tests.factories import MODEL_ID, SHA_A, SHA_B, Api, World, make_golden_set, make_revision
from tests.house.rules import without_rules

Clients = Callable[..., Api]
PATH = f"/models/{MODEL_ID}/revisions/{SHA_A}"
TINY = {"batch_sizes": [1, 2], "max_lengths": [16], "repeats": 1, "warmup": 0}


# --- asking ------------------------------------------------------------------------------------------------------------


def test_benchmark_is_asked_for_by_commit(world: World, api: Clients) -> None:
    revision = make_revision(world.team)
    answer = api(world.submitter).post(f"{PATH}/benchmarks")
    assert (answer.status, answer.data["kind"], answer.data["state"]) == (202, "benchmark", "queued")
    assert Job.objects.get().params == {"revision": revision.pk, **BENCHMARK}
    assert (
        api(world.admin).post(f"{PATH}/benchmarks").data["id"] == answer.data["id"]
    )  # an open one is joined


def test_evaluation_is_asked_for_by_commit_and_golden_set(world: World, api: Clients) -> None:
    make_revision(world.team)
    golden = make_golden_set(world.submitter)
    answer = api(world.reviewer).post(f"{PATH}/evaluations", {"golden_set": golden.pk})
    assert (answer.status, answer.data["kind"]) == (202, "evaluation")


def test_evaluation_with_labels_the_model_does_not_have_is_refused(world: World, api: Clients) -> None:
    make_revision(world.team)
    golden = make_golden_set(world.submitter, [("hello", "happy")])
    answer = api(world.submitter).post(f"{PATH}/evaluations", {"golden_set": golden.pk})
    assert (answer.status, answer.code, answer.error["details"]["unknown"]) == (
        422,
        "unknown_label",
        ["happy"],
    )
    assert not Job.objects.exists()


def test_evaluation_on_another_models_set_is_not_found(world: World, api: Clients) -> None:
    make_revision(world.team)
    golden = make_golden_set(world.submitter, model_id="acme/other")
    assert api(world.submitter).post(f"{PATH}/evaluations", {"golden_set": golden.pk}).status == 404


@pytest.mark.parametrize(
    "path", [f"/models/{MODEL_ID}/revisions/{SHA_B}/benchmarks", "/models/a/b/revisions/{SHA_A}/benchmarks"]
)
def test_measurement_of_what_is_not_recorded_is_not_found(world: World, api: Clients, path: str) -> None:
    make_revision(world.team)
    assert api(world.submitter).post(path).status == 404


def test_review_measures_on_every_golden_set_of_the_model_and_no_other(world: World) -> None:
    revision = make_revision(world.team)
    mine = [make_golden_set(world.submitter) for _ in range(2)]
    make_golden_set(world.submitter, model_id="acme/other")
    make_golden_set(world.other)
    found = request_measurements(actor=world.viewer, revision=revision)
    assert [j.kind for j in found] == ["benchmark", "evaluation", "evaluation"]
    assert {j.params.get("golden_set") for j in found} == {None, *(g.pk for g in mine)}


# --- running: a real child process on a real (tiny) model --------------------------------------------------------------


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tiny model of tests/engine, built in a process of its own: this one never imports torch."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    code = "import sys; from pathlib import Path; from tests.engine.tiny import build_tiny; build_tiny(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=120, capture_output=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def tiny(world: World, tiny_files: dict[str, bytes]) -> Revision:
    return make_revision(world.team, files=tiny_files)


def run(world: World, kind: str, revision: Revision, **params: Any) -> Job:
    from registry.enums import JobKind

    job, _ = jobs.enqueue(
        actor=world.submitter, team=world.team, kind=JobKind(kind), subject=f"revision:{revision.pk}:{kind}",
        title=f"{kind} of {revision}", params={"revision": revision.pk, **params},
    )  # fmt: skip
    jobs.run(job.pk)
    return Job.objects.get(pk=job.pk)


def test_benchmark_becomes_evidence(world: World, tiny: Revision) -> None:
    job = run(world, "benchmark", tiny, **TINY)
    assert job.state == "succeeded", (job.error, job.log_tail)
    evidence = Evidence.objects.get()
    assert (evidence.kind, evidence.job, evidence.manifest_sha256) == ("benchmark", job, tiny.manifest_sha256)
    data = evidence.data
    assert evidence.sha256 == sha256_json(data)
    assert 0 < data["latency_p50_ms"] <= data["latency_p95_ms"] <= data["latency_p99_ms"]
    assert data["throughput_texts_s"] > 0 and data["max_rss_mb"] > 50 and data["cold_start_s"] > 0
    assert {(c["max_length"], c["batch_size"]) for c in data["grid"]} == {(16, 1), (16, 2)}
    assert evidence.summary.startswith("p50 ") and "on cpu" in evidence.summary
    assert [step["step"] for step in job.progress][:2] == ["verify files", "load"]
    assert_nothing_left()


def test_evaluation_becomes_evidence_with_every_prediction(world: World, tiny: Revision) -> None:
    golden = make_golden_set(
        world.submitter,
        [("useful and reliable", "positive"), ("late and terrible", "negative"), ("on time", "neutral")],
    )
    job = run(world, "evaluation", tiny, golden_set=golden.pk)
    assert job.state == "succeeded", (job.error, job.log_tail)
    data = Evidence.objects.get().data
    assert data["golden_set"] == {"id": golden.pk, "name": golden.name, "sha256": golden.sha256, "size": 3}
    assert sorted(data["labels"]) == ["negative", "neutral", "positive"]
    assert sum(map(sum, data["confusion"])) == 3 and 0 <= data["accuracy"] <= 1
    right = EvaluationPrediction.objects.filter(prediction__in=["negative", "neutral", "positive"])
    assert right.count() == 3 and len(data["errors"]) == round(3 * (1 - data["accuracy"]))
    assert {row["label"] for row in data["per_class"]} == {"negative", "neutral", "positive"}
    assert "useful" not in json.dumps(data)  # texts stay in the golden set


def test_golden_label_of_the_set_that_the_model_lacks_fails_with_the_sentence(
    world: World, tiny: Revision
) -> None:
    golden = make_golden_set(world.submitter, [("hello", "happy")])
    job = run(world, "evaluation", tiny, golden_set=golden.pk)
    assert (job.state, job.error_code) == ("failed", "unknown_label") and "'happy'" in job.error
    assert not Evidence.objects.exists()


def test_model_that_does_not_load_fails_with_the_childs_sentence(
    world: World, tiny_files: dict[str, bytes]
) -> None:
    broken = {**tiny_files, "config.json": b'{"model_type": "nothing-we-know"}'}
    job = run(world, "benchmark", make_revision(world.team, files=broken), **TINY)
    assert job.state == "failed" and job.error.startswith("Cannot load the model from the snapshot")
    assert job.error_code not in ("crashed", "child_died")
    assert not Evidence.objects.exists()
    assert_nothing_left()


def test_damaged_file_is_never_loaded(world: World, tiny: Revision) -> None:
    file = tiny.files.get(path="model.safetensors")
    path = store.path_of(file.blob_id)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    job = run(world, "benchmark", tiny, **TINY)
    assert (job.state, job.error_code) == ("failed", "integrity_error")
    assert_nothing_left()


def assert_nothing_left() -> None:
    """No snapshot and no home of a child stays on the disk, and no child lives."""
    folder = store.root() / "snapshots"
    assert not folder.exists() or list(folder.iterdir()) == []
    mine = psutil.Process().children(recursive=True)
    assert not [p for p in mine if "inference.engine.child" in " ".join(p.cmdline())]


# --- the child and its keeper, with a stand-in for the engine ----------------------------------------------------------


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """`script("print(...)")`: what the child process runs instead of the engine."""
    real = subprocess.Popen

    def install(code: str) -> None:
        file = tmp_path / "child.py"
        file.write_text("import json, os, signal, sys, time\norder = json.load(sys.stdin)\n" + code)

        def start(command: list[str], **kwargs: Any) -> Any:
            assert command == [sys.executable, "-m", "inference.engine.child"]
            return real([sys.executable, str(file)], **kwargs)

        monkeypatch.setattr("inference.child.subprocess.Popen", start)

    return install


def test_child_gets_a_clean_environment(
    world: World, tiny: Revision, script: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ASSAY_SECRET_KEY", "DATABASE_URL", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "ASSAY_BROKER_URL"):
        monkeypatch.setenv(name, "secret")
    script(
        "print(json.dumps({'event': 'error', 'code': 'seen', 'message': json.dumps(dict(os.environ))[:900]}))\n"
        "sys.exit(1)"
    )
    job = run(world, "benchmark", tiny, **TINY)
    seen = set(json.loads(job.error)) if job.error.endswith("}") else set()
    assert "secret" not in job.error and job.error_code == "seen"
    assert not seen or seen <= {
        *child.PASSED_ON, "HOME", "HF_HOME", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY",
        "DISABLE_SAFETENSORS_CONVERSION", "TRANSFORMERS_VERBOSITY", "TOKENIZERS_PARALLELISM", "PYTHONPATH",
        "PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "LC_CTYPE",
    }  # fmt: skip


def test_child_is_offline_and_sees_only_its_snapshot(
    world: World, tiny: Revision, script: Callable[[str], None]
) -> None:
    with without_rules(connection):
        Revision.objects.filter(pk=tiny.pk).update(facts={"formats": {"quarantined": ["tokenizer.json"]}})
    script(
        "names = sorted(os.listdir(order['snapshot']))\n"
        "print(json.dumps({'event': 'error', 'code': 'seen', 'message': os.environ['HF_HUB_OFFLINE'] + ' '.join(names)}))"
    )
    job = run(world, "benchmark", tiny, **TINY)
    assert (
        job.error.startswith("1") and "model.safetensors" in job.error and "tokenizer.json" not in job.error
    )


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (
            "print('loading', file=sys.stderr); os.kill(os.getpid(), signal.SIGKILL)",
            "it was killed, most likely for memory",
        ),
        (
            "print('loading', file=sys.stderr); os.kill(os.getpid(), signal.SIGSEGV)",
            "it was ended by SIGSEGV",
        ),
        ("print('loading', file=sys.stderr); sys.exit(3)", "ended with code 3 and no result"),
        ("print('loading', file=sys.stderr)", "ended with code 0 and no result"),
    ],
    ids=["oom", "segfault", "exit", "silent"],
)
def test_last_words_of_a_dying_child_are_kept(
    world: World, tiny: Revision, script: Callable[[str], None], code: str, words: str
) -> None:
    script(code)
    job = run(world, "benchmark", tiny, **TINY)
    assert (job.state, job.error_code) == ("failed", "child_died")
    assert words in job.error and job.error.endswith("Its last words: loading")
    assert job.log_tail == "loading"
    assert_nothing_left()


def test_child_that_hangs_is_ended_and_said(
    world: World, tiny: Revision, script: Callable[[str], None], settings: Settings
) -> None:
    settings.JOB_TIMEOUT_S = 1
    script("time.sleep(60)")
    job = run(world, "benchmark", tiny, **TINY)
    assert job.state == "timed_out" and "It did not finish within 1 seconds" in job.error
    assert_nothing_left()


def test_child_that_talks_forever_is_ended_too(
    world: World, tiny: Revision, script: Callable[[str], None], settings: Settings
) -> None:
    """A deadline that is looked at only in silence would never come for a chatterbox."""
    settings.JOB_TIMEOUT_S = 1
    script(
        "while True:\n    print(json.dumps({'event': 'progress', 'step': 'x', 'done': 1, 'total': 2}), flush=True)"
    )
    job = run(world, "benchmark", tiny, **TINY)
    assert job.state == "timed_out"
    assert_nothing_left()


def test_grandchildren_end_with_the_child(
    world: World, tiny: Revision, script: Callable[[str], None], settings: Settings, tmp_path: Path
) -> None:
    settings.JOB_TIMEOUT_S = 2
    note = tmp_path / "pid"
    script(
        "import subprocess\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(note)!r}, 'w').write(str(p.pid))\n"
        "time.sleep(60)"
    )
    run(world, "benchmark", tiny, **TINY)
    pid = int(note.read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_cancelled_job_ends_its_child(
    world: World, tiny: Revision, script: Callable[[str], None], settings: Settings
) -> None:
    script(
        "print(json.dumps({'event': 'progress', 'step': 'measure', 'done': 0, 'total': 9}), flush=True)\ntime.sleep(60)"
    )
    real = jobs.Running.step

    def step(running: jobs.Running, name: str, done: int = 0, total: int = 0) -> None:
        if name == "measure":
            jobs.cancel(actor=world.submitter, job=running.job)
            running.beat()
        real(running, name, done, total)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.Running, "step", step)
        job = run(world, "benchmark", tiny, **TINY)
    assert job.state == "cancelled"
    assert_nothing_left()


def test_noise_on_stdout_is_not_taken_for_events(
    world: World, tiny: Revision, script: Callable[[str], None]
) -> None:
    script(
        "print('warning: something')\nprint('[1, 2]')\nprint(json.dumps({'event': 'nonsense'}))\n"
        "print(json.dumps({'event': 'error', 'code': 'x', 'message': 'A sentence.'}))"
    )
    assert run(world, "benchmark", tiny, **TINY).error == "A sentence."


def test_control_plane_never_imports_torch() -> None:
    """Web process and Celery parent: all of Django is loaded, and none of the model libraries."""
    code = (
        "import sys, django; django.setup()\n"
        "import config.wsgi, config.celery, registry.tasks\nfrom django.urls import get_resolver; get_resolver().url_patterns\n"
        "print([m for m in ('torch', 'transformers', 'tokenizers', 'datasets', 'safetensors') if m in sys.modules])"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "config.settings"}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout.strip() == "[]"


def test_signal_names_are_those_of_the_system() -> None:
    assert child._how_it_died(-int(signal.SIGTERM), []) == (
        "The model process died (it was ended by SIGTERM). Its last words: none"
    )


def test_golden_sets_of_the_review_are_kept_apart_by_team(world: World) -> None:
    make_golden_set(world.other)
    assert GoldenSet.objects.filter(team=world.team).count() == 0
