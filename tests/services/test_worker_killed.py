"""A worker dies or freezes in the middle of a benchmark: the job runs again, and there is one result.

Everything is real: the broker, Celery workers and beat as the launcher starts them, the database of this engine, and a
model process that loads and measures a (tiny) model.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import psutil
import pytest
from django.db import transaction
from pytest_django import Settings

from registry import audit, jobs
from registry.enums import JobKind
from registry.models import AuditEvent, Evidence, Job, Revision
from tests.factories import make_revision, make_world
from tests.services.processes import Installation, installation

pytestmark = [
    pytest.mark.service,
    pytest.mark.slow,
    pytest.mark.xdist_group("processes"),
    pytest.mark.django_db(transaction=True),
]

# A few seconds of measuring on a quiet machine: long enough to be killed in the middle, short enough to wait for.
PARAMS = {"batch_sizes": [1], "max_lengths": [16], "repeats": 30, "warmup": 1}


@pytest.fixture
def running() -> Iterator[Installation]:
    """Broker, worker and beat, with a lease of four seconds and a sweep every one."""
    settings = {"ASSAY_JOB_LEASE_S": "4", "ASSAY_JOB_HEARTBEAT_S": "1", "ASSAY_JOB_SWEEP_S": "1"}
    # One thread: on a busy machine two of them spend their time waiting for each other.
    with installation(OMP_NUM_THREADS="1", **settings) as found:
        found.start("worker-first")
        found.start("beat")
        yield found


@pytest.fixture
def revision(running: Installation, settings: Settings, tiny_files: dict[str, bytes]) -> Revision:
    settings.STORE_DIR = running.data / "store"
    return make_revision(make_world().team, files=tiny_files)


def ask(revision: Revision) -> Job:
    """A queued benchmark. Nobody rings (this process has no broker): the sweep finds it."""
    from registry.actors import actor_for
    from registry.models import User

    actor = actor_for(User.objects.get(username="submitter"), revision.model.team)
    with transaction.atomic():
        job, _ = jobs.enqueue(
            actor=actor, team=actor.in_team, kind=JobKind.BENCHMARK, subject=f"revision:{revision.pk}:benchmark",
            title=f"Benchmark of {revision}", params={"revision": revision.pk, **PARAMS},
        )  # fmt: skip
    return job


def measuring(job: Job) -> bool:
    found = Job.objects.get(pk=job.pk)
    assert found.state in ("queued", "running"), f"{found.state}: {found.error}"
    return found.state == "running" and any(step["step"] == "measure" for step in found.progress)


def model_processes(running: Installation, worker: str) -> list[psutil.Process]:
    found = []
    for process in running.children_of(worker):
        try:
            if "inference.engine.child" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def assert_one_result(job: Job, revision: Revision) -> None:
    found = Job.objects.get(pk=job.pk)
    assert (found.state, found.attempt) == ("succeeded", 2)
    evidence = Evidence.objects.get()  # exactly one
    assert (evidence.job_id, evidence.revision_id, evidence.manifest_sha256) == (
        job.pk,
        revision.pk,
        revision.manifest_sha256,
    )
    assert evidence.data["latency_p50_ms"] > 0 and evidence.data["repeats"] == PARAMS["repeats"]
    assert AuditEvent.objects.filter(verb="evidence.published").count() == 1
    assert not AuditEvent.objects.filter(verb="job.failed").exists()
    assert audit.verify().ok


def finished(job: Job) -> bool:
    found = Job.objects.get(pk=job.pk)
    print(found.state, found.attempt, found.progress)  # shown when the waiting was in vain
    return found.state not in ("queued", "running")


def gone(processes: list[psutil.Process]) -> bool:
    return not [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def test_worker_killed_in_the_middle_of_a_benchmark_leaves_one_result(
    running: Installation, revision: Revision
) -> None:
    job = ask(revision)
    running.wait_for("the benchmark to measure", lambda: measuring(job), 120)
    family, models = running.children_of("worker-first"), model_processes(running, "worker-first")
    assert len(models) == 1 and Job.objects.get(pk=job.pk).attempt == 1

    running.kill_group("worker-first")
    # The model process has a session of its own, so the signal did not reach it: it must see for itself that it is alone.
    running.wait_for("the model process to end with its worker", lambda: gone(models), 15)
    running.wait_for("the whole family to be gone", lambda: gone(family), 15)
    assert Job.objects.get(pk=job.pk).state in ("running", "queued") and not Evidence.objects.exists()

    running.start("worker-second")
    running.wait_for("the second attempt to end", lambda: finished(job), 180)
    assert_one_result(job, revision)
    assert model_processes(running, "worker-second") == []


def test_worker_that_freezes_and_comes_back_publishes_nothing(
    running: Installation, revision: Revision
) -> None:
    job = ask(revision)
    running.wait_for("the benchmark to measure", lambda: measuring(job), 120)
    frozen = [psutil.Process(running.started["worker-first"].pid), *running.children_of("worker-first")]
    for process in frozen:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        # Elsewhere: on this machine the frozen one still holds the lock that keeps measurements apart.
        running.start("worker-second", settings=running.another_machine())
        running.wait_for("the other worker to finish it", lambda: finished(job), 180)
        assert_one_result(job, revision)
    finally:
        for process in frozen:
            if process.is_running():
                os.kill(process.pid, signal.SIGCONT)
    # It wakes up, learns at its next heartbeat that the job is not its own, and ends its model process.
    running.wait_for("the first worker to let go", lambda: not model_processes(running, "worker-first"), 60)
    assert_one_result(job, revision)
