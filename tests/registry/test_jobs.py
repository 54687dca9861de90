"""Jobs as rows with a lease: whatever dies, hangs or happens twice, the effect is there once and a person can read why."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from config import env
from inference.publishing import publish_evidence
from registry import jobs
from registry.enums import EvidenceKind, JobKind, JobState
from registry.exceptions import Conflict, JobCancelled, JobFailed, LeaseLost, NotAllowed
from registry.jobs import Kind, Running
from registry.models import AuditEvent, Evidence, Job, Revision
from tests.factories import World, make_job, make_revision, make_world

Handler = Callable[[Running], None]


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> Callable[[Handler], None]:
    """`handle(function)`: what benchmark jobs do in this test."""

    def install(handler: Handler) -> None:
        monkeypatch.setitem(jobs.KINDS, JobKind.BENCHMARK, Kind(handler, "cpu"))

    return install


def enqueue(world: World, subject: str = "revision:1", **params: Any) -> tuple[Job, bool]:
    return jobs.enqueue(
        actor=world.submitter,
        team=world.team,
        kind=JobKind.BENCHMARK,
        subject=subject,
        title="Benchmark of it",
        params=params,
    )


def reread(job: Job) -> Job:
    return Job.objects.get(pk=job.pk)


def expire_lease(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


# --- asking ------------------------------------------------------------------------------------------------------------


def test_job_is_a_row_first_and_rings_after_the_commit(
    world: World, bells: list[int], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        job, created = enqueue(world)
        assert created and job.state == "queued" and bells == []
    assert bells == [job.pk] and reread(job).rung_at is not None
    event = AuditEvent.objects.get()
    assert (event.verb, event.object_id, event.actor_id) == ("job.requested", job.pk, world.submitter.user.pk)


def test_bell_carries_an_id_and_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from registry.tasks import run_job

    sent: list[tuple[Any, ...]] = []
    monkeypatch.setattr(run_job, "apply_async", lambda *args, **kwargs: sent.append((args, kwargs)))
    job, _ = enqueue(world, secret="not for the broker")
    jobs.ring(job)
    assert sent == [(((job.pk,),), {"queue": "cpu"})]


def test_job_of_an_act_that_is_rolled_back_never_was(world: World, bells: list[int]) -> None:
    with pytest.raises(RuntimeError), transaction.atomic():
        enqueue(world)
        raise RuntimeError
    assert not Job.objects.exists() and bells == []


def test_open_job_of_the_same_subject_is_joined(world: World) -> None:
    first, _ = enqueue(world)
    second, created = enqueue(world)
    assert (second, created) == (first, False)
    assert jobs.claim(first.pk, "me")
    assert enqueue(world)[0] == first
    assert enqueue(world, "revision:2")[1]
    assert AuditEvent.objects.filter(verb="job.requested").count() == 2


def test_broker_that_is_down_leaves_the_job_queued_and_the_sweep_rings(
    world: World, bells: list[int], monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:  # fmt: skip
    from config.celery import app
    from registry.tasks import run_job

    ring_of_tests = run_job.apply_async
    monkeypatch.undo()  # the real apply_async, at a port where nobody listens
    real = run_job.apply_async
    with app.connection_for_write("redis://127.0.0.1:1/0") as dead:
        monkeypatch.setattr(
            run_job, "apply_async", lambda args, queue: real(args, queue=queue, connection=dead)
        )
        with django_capture_on_commit_callbacks(execute=True):
            job, _ = enqueue(world)
        assert reread(job).state == "queued" and reread(job).rung_at is None
        assert jobs.sweep() == {"requeued": 0, "gave_up": 0, "rung": 0}
    monkeypatch.setattr(run_job, "apply_async", ring_of_tests)  # the broker is back
    assert jobs.sweep() == {"requeued": 0, "gave_up": 0, "rung": 1}
    assert bells == [job.pk] and reread(job).rung_at is not None


# --- working -----------------------------------------------------------------------------------------------------------


def test_claim_takes_a_queued_job_once(world: World, settings: Settings) -> None:
    job = make_job(world.submitter)
    taken = jobs.claim(job.pk, "me")
    assert taken and (taken.state, taken.attempt, taken.lease_owner) == ("running", 1, "me")
    assert taken.lease_until and taken.lease_until > timezone.now() + timedelta(
        seconds=settings.JOB_LEASE_S - 5
    )
    assert jobs.claim(job.pk, "you") is None
    assert jobs.claim(999_999, "you") is None
    assert reread(job).lease_owner == "me"


@pytest.mark.django_db(transaction=True)
def test_ten_workers_that_claim_at_once_get_it_once() -> None:
    job = make_job(make_world().submitter)
    barrier, taken = threading.Barrier(10), []

    def work(name: str) -> None:
        try:
            barrier.wait(30)
            if jobs.claim(job.pk, name):
                taken.append(name)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(f"worker {n}",)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(taken) == 1 and reread(job).lease_owner == taken[0] and reread(job).attempt == 1


def publish(running: Running) -> None:
    revision = Revision.objects.get(pk=running.job.params["revision"])
    publish_evidence(running, revision, EvidenceKind.BENCHMARK, {"schema": 1}, "fast enough")


def test_handlers_result_and_the_jobs_end_are_one(world: World, handle: Callable[[Handler], None]) -> None:
    revision = make_revision(world.team)
    job, _ = enqueue(world, revision=revision.pk)

    def handler(running: Running) -> None:
        running.step("load", 0, 1)
        running.step("measure", 1, 3)
        running.log.append("warming up")
        publish(running)

    handle(handler)
    assert jobs.run(job.pk) == "succeeded"
    job = reread(job)
    assert (job.state, job.lease_owner, job.lease_until, job.log_tail) == (
        "succeeded",
        "",
        None,
        "warming up",
    )
    assert [(s["step"], s["done"], s["total"]) for s in job.progress] == [("load", 0, 1), ("measure", 1, 3)]
    assert all(s["seconds"] is not None for s in job.progress)
    evidence = Evidence.objects.get()
    assert (evidence.job, evidence.revision, evidence.manifest_sha256) == (
        job,
        revision,
        revision.manifest_sha256,
    )
    assert jobs.run(job.pk) == "not-mine"  # the bell may ring twice
    assert Evidence.objects.count() == 1


def test_result_that_cannot_be_recorded_leaves_nothing_of_itself(
    world: World, handle: Callable[[Handler], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, _ = enqueue(world, revision=make_revision(world.team).pk)

    def handler(running: Running) -> None:
        with running.publish() as ended:
            ended.revision = Revision.objects.get()
            Evidence.objects.create(
                revision=ended.revision, kind="benchmark", job=running.job, manifest_sha256=ended.revision.manifest_sha256,
                summary="half", data={}, sha256="0" * 64,
            )  # fmt: skip
            raise OSError("the disk is full")

    handle(handler)
    assert jobs.run(job.pk) == "crashed"
    assert not Evidence.objects.exists() and reread(job).state == "failed"


def test_worker_that_lost_its_lease_publishes_nothing(
    world: World, handle: Callable[[Handler], None]
) -> None:
    job, _ = enqueue(world, revision=make_revision(world.team).pk)

    def handler(running: Running) -> None:
        expire_lease(
            running.job
        )  # it hung; meanwhile the sweeper brought the job back and another worker took it
        assert jobs.sweep()["requeued"] == 1
        assert jobs.claim(running.job.pk, "another worker")
        publish(running)

    handle(handler)
    assert jobs.run(job.pk) == "lease-lost"
    job = reread(job)
    assert (job.state, job.lease_owner, job.attempt, job.error) == ("running", "another worker", 2, "")
    assert not Evidence.objects.exists()


@pytest.mark.parametrize("error", [JobFailed("The model does not load."), RuntimeError("boom")])
def test_failure_of_a_worker_that_lost_its_lease_is_nobodys(
    world: World, handle: Callable[[Handler], None], error: Exception
) -> None:
    job, _ = enqueue(world)

    def handler(running: Running) -> None:
        Job.objects.filter(pk=running.job.pk).update(lease_owner="another worker")
        raise error

    handle(handler)
    jobs.run(job.pk)
    job = reread(job)
    assert (job.state, job.lease_owner, job.error) == ("running", "another worker", "")


def test_heartbeat_renews_the_lease_and_hears_of_loss_and_cancellation(world: World) -> None:
    running = Running(jobs.claim(make_job(world.submitter).pk, "me") or Job(), "me")
    expire_lease(running.job)
    running.beat()
    renewed = reread(running.job).lease_until
    assert renewed and renewed > timezone.now() and not running.lost.is_set()
    jobs.cancel(actor=world.submitter, job=running.job)
    running.check()  # told, and not yet heard
    running.beat()
    with pytest.raises(JobCancelled):
        running.step("next")
    Job.objects.filter(pk=running.job.pk).update(lease_owner="another worker")
    running.beat()
    with pytest.raises(LeaseLost):
        running.check()


def test_known_failure_ends_with_its_sentence(world: World, handle: Callable[[Handler], None]) -> None:
    job, _ = enqueue(world)

    def handler(running: Running) -> None:
        running.log.extend(["loading", "Killed"])
        raise JobFailed("The model process died. Its last words: Killed", code="child_died")

    handle(handler)
    assert jobs.run(job.pk) == "child_died"
    job = reread(job)
    assert (job.state, job.error_code, job.log_tail) == ("failed", "child_died", "loading\nKilled")
    assert job.error == "The model process died. Its last words: Killed"
    event = AuditEvent.objects.get(verb="job.failed")
    assert event.object_id == job.pk and event.actor_id is None


def test_unknown_failure_ends_with_a_sentence_that_leaks_nothing(
    world: World, handle: Callable[[Handler], None], caplog: pytest.LogCaptureFixture
) -> None:
    job, _ = enqueue(world)

    def handler(running: Running) -> None:
        raise RuntimeError("customer text: 0123 456 789")

    handle(handler)
    assert jobs.run(job.pk) == "crashed"
    job = reread(job)
    assert job.state == "failed" and "0123" not in job.error and str(job.pk) in job.error
    assert "0123" in caplog.text  # the log has it, for whoever may read logs


def test_job_over_its_time_is_called_timed_out(world: World, handle: Callable[[Handler], None]) -> None:
    job, _ = enqueue(world)

    def handler(running: Running) -> None:
        raise JobFailed("It did not finish within 1800 seconds.", code="timed_out")

    handle(handler)
    jobs.run(job.pk)
    assert reread(job).state == "timed_out"


# --- cancelling --------------------------------------------------------------------------------------------------------


def test_queued_job_is_cancelled_at_once(world: World, handle: Callable[[Handler], None]) -> None:
    job, _ = enqueue(world)
    jobs.cancel(actor=world.submitter, job=job)
    job = reread(job)
    assert (job.state, job.error) == ("cancelled", "Cancelled by submitter before it started.")
    assert jobs.run(job.pk) == "not-mine"
    with pytest.raises(Conflict):
        jobs.cancel(actor=world.submitter, job=job)


def test_running_job_is_cancelled_at_its_next_heartbeat(
    world: World, handle: Callable[[Handler], None]
) -> None:
    job, _ = enqueue(world)

    def handler(running: Running) -> None:
        jobs.cancel(actor=world.admin, job=running.job)
        running.beat()
        running.step("measure")
        raise AssertionError("it went on")

    handle(handler)
    assert jobs.run(job.pk) == "cancelled"
    job = reread(job)
    assert (job.state, job.error) == ("cancelled", "Cancelled by a person while it was running.")
    assert list(AuditEvent.objects.order_by("seq").values_list("verb", flat=True)) == [
        "job.requested",
        "job.cancelled",
    ]


def test_viewer_cannot_cancel(world: World) -> None:
    with pytest.raises(NotAllowed):
        jobs.cancel(actor=world.viewer, job=make_job(world.submitter))


# --- sweeping ----------------------------------------------------------------------------------------------------------


def test_job_of_a_dead_worker_goes_back_to_the_queue(
    world: World, bells: list[int], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    dead, living = (make_job(world.submitter, state="running") for _ in range(2))
    expire_lease(dead)
    with django_capture_on_commit_callbacks(execute=True):
        assert jobs.sweep()["requeued"] == 1
    assert (reread(dead).state, reread(dead).lease_owner, reread(dead).attempt) == ("queued", "", 1)
    assert reread(living).state == "running" and set(bells) == {dead.pk}
    assert jobs.claim(dead.pk, "me") and reread(dead).attempt == 2


def test_job_whose_worker_died_every_time_is_given_up_with_a_sentence(world: World) -> None:
    job = make_job(world.submitter, state="running", attempt=3)
    expire_lease(job)
    assert jobs.sweep()["gave_up"] == 1
    job = reread(job)
    assert (job.state, job.error_code) == ("failed", "worker_lost")
    assert job.error.startswith(
        "The worker died 3 times in the middle of this job, so it is not tried again."
    )
    assert AuditEvent.objects.get().verb == "job.failed"
    assert jobs.sweep() == {"requeued": 0, "gave_up": 0, "rung": 0}


def test_cancelled_job_of_a_dead_worker_does_not_run_again(world: World) -> None:
    job = make_job(world.submitter, state="running")
    jobs.cancel(actor=world.submitter, job=job)
    expire_lease(job)
    jobs.sweep()
    job = reread(job)
    assert job.state == "cancelled" and job.error.startswith("Cancelled by a person")


def test_only_jobs_whose_bell_nobody_heard_are_rung_again(
    world: World, bells: list[int], settings: Settings
) -> None:
    long_ago = timezone.now() - timedelta(seconds=settings.JOB_SWEEP_S + 1)
    never, late = make_job(world.submitter), make_job(world.submitter, rung_at=long_ago)
    make_job(world.submitter, rung_at=timezone.now())
    for state in set(JobState.values) - {"queued"}:
        make_job(world.submitter, state=state)
    assert jobs.sweep()["rung"] == 2 and sorted(bells) == [never.pk, late.pk]
    assert jobs.sweep()["rung"] == 0


def test_celery_settings_are_the_ones_that_lose_nothing(settings: Settings) -> None:
    from config.celery import app

    conf = app.conf
    assert conf.task_acks_late and conf.task_reject_on_worker_lost and conf.worker_prefetch_multiplier == 1
    assert conf.task_ignore_result and conf.accept_content == ["json"] and conf.task_serializer == "json"
    options = conf.broker_transport_options
    assert options["visibility_timeout"] > 2 * settings.JOB_TIMEOUT_S - 1
    assert (options["unacked_restore_interval"], options["unacked_restore_throttle"]) == (10, 1)
    defaults = {
        name: int(env.SETTINGS[name].default) for name in ("ASSAY_JOB_HEARTBEAT_S", "ASSAY_JOB_LEASE_S")
    }
    assert defaults["ASSAY_JOB_HEARTBEAT_S"] * 2 < defaults["ASSAY_JOB_LEASE_S"]
    assert {entry["task"] for entry in conf.beat_schedule.values()} >= {
        "registry.sweep_jobs",
        "registry.expire_approvals",
    }
