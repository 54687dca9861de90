"""Jobs: rows with a lease. The broker only rings; everything here may happen twice and has its effect once.

1. `enqueue` writes the row and rings after commit.    2. `claim` takes it by compare-and-set, with a lease.
3. A heartbeat thread renews the lease and hears of cancellation.    4. The handler computes; nothing is published yet.
5. `publish` writes the result and ends the job in one transaction, if and only if the lease is still ours.
6. `sweep` returns jobs of dead workers to the queue, gives up after the last attempt, and rings forgotten ones again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, close_old_connections, connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from registry import audit, permissions
from registry.actors import Actor
from registry.enums import OPEN_JOB_STATES, JobKind, JobState
from registry.exceptions import DomainError, JobCancelled, JobFailed, LeaseLost
from registry.machines import JOB
from registry.models import Job, Membership, Revision, Team
from registry.signals import job_finished, job_started

logger = logging.getLogger(__name__)
PROGRESS_S = 0.5  # between two writings of a job's progress

Handler = Callable[["Running"], None]


@dataclass(frozen=True)
class Kind:
    handler: Handler
    queue: str


KINDS: dict[JobKind, Kind] = {}


def register(kind: JobKind, handler: Handler, *, queue: str) -> None:
    """Called from the apps' `ready()`: the ground floor does not know who works for it."""
    KINDS[kind] = Kind(handler, queue)


# --- asking ------------------------------------------------------------------------------------------------------------


@transaction.atomic
def enqueue(
    *, actor: Actor, team: Team, kind: JobKind, subject: str, title: str, params: dict[str, Any]
) -> tuple[Job, bool]:
    """Returns (job, created): an open job for the same kind and subject is joined, not doubled."""
    existing = Job.objects.filter(kind=kind, subject=subject, state__in=OPEN_JOB_STATES).first()
    if existing:
        return existing, False
    try:
        with transaction.atomic():
            job = Job.objects.create(
                team=team,
                kind=kind,
                subject=subject,
                title=title,
                params=params,
                queue=KINDS[kind].queue,
                requested_by=actor.user,
            )
    except IntegrityError:  # two people at the same instant: the database let one through
        return Job.objects.get(kind=kind, subject=subject, state__in=OPEN_JOB_STATES), False
    audit.record(actor=actor, team=team, verb="job.requested", subject=job, title=title, kind=str(kind))
    transaction.on_commit(lambda: ring(job))
    return job, True


def ring(job: Job) -> bool:
    """Tells the broker. When it is down the row waits and the sweeper rings again, so this never raises."""
    from registry.tasks import run_job

    try:
        run_job.apply_async((job.pk,), queue=job.queue)
    except Exception:  # kombu, redis and socket errors have no common base
        logger.warning("broker_unreachable", extra={"job": job.pk}, exc_info=True)
        return False
    Job.objects.filter(pk=job.pk).update(rung_at=timezone.now())
    return True


@transaction.atomic
def cancel(*, actor: Actor, job: Job) -> Job:
    """A queued job ends at once; a running one is told and ends at its next heartbeat."""
    permissions.check(actor, permissions.Action.CANCEL_JOB)
    locked = Job.objects.select_for_update().get(pk=job.pk)
    JOB.target(locked.state, "cancel")
    if locked.state == JobState.QUEUED:
        _end(
            locked,
            "cancel",
            error_code="cancelled",
            error=f"Cancelled by {actor.user.display_name} before it started.",
        )
    else:
        locked.cancel_requested_at = timezone.now()
        locked.save(update_fields=["cancel_requested_at"])
    audit.record(actor=actor, verb="job.cancelled", subject=locked, title=locked.title)
    return locked


# --- working -----------------------------------------------------------------------------------------------------------


def owner_name() -> str:
    """Unique per process and claim: a restarted worker with the same pid is still somebody else."""
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident()}:{time.time_ns()}"


def claim(job_id: int, owner: str) -> Job | None:
    """Takes a queued job by compare-and-set; None when it is done, gone, or somebody else's."""
    now = timezone.now()
    taken = Job.objects.filter(pk=job_id, state=JobState.QUEUED).update(
        state=JobState.RUNNING,
        lease_owner=owner,
        lease_until=now + timedelta(seconds=settings.JOB_LEASE_S),
        heartbeat_at=now,
        started_at=now,
        progress=[],
        log_tail="",
        attempt=F("attempt") + 1,
    )
    if taken != 1:
        return None
    job = Job.objects.select_related("team", "requested_by").get(pk=job_id)
    with transaction.atomic():
        job_started.send(sender=Job, job=job)
    return job


@dataclass
class Ended:
    """What a published job leaves behind."""

    revision: Revision | None = None


@dataclass
class Running:
    """A claimed job in the hands of its handler."""

    job: Job
    owner: str
    stop: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    lost: threading.Event = field(default_factory=threading.Event)
    steps: list[dict[str, Any]] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    _step_started: float = 0.0
    _saved_at: float = 0.0

    def step(self, name: str, done: int = 0, total: int = 0) -> None:
        """Shows progress on the run's page, at most twice a second. Raises JobCancelled or LeaseLost."""
        self.check()
        now = time.monotonic()
        if not self.steps or self.steps[-1]["step"] != name:
            if self.steps:
                self.steps[-1]["seconds"] = round(now - self._step_started, 2)
            self.steps.append({"step": name, "done": done, "total": total, "seconds": None})
            self._step_started, self._saved_at = now, 0.0
        self.steps[-1].update(done=done, total=total)
        if now - self._saved_at >= PROGRESS_S:
            self._saved_at = now
            self._mine().update(progress=self.steps)

    def wait(self, seconds: float) -> None:
        """Sleeps, and wakes up when the job is lost or cancelled. Raises LeaseLost, JobCancelled."""
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            self.check()
            time.sleep(min(0.5, left))

    def check(self) -> None:
        if self.lost.is_set():
            raise LeaseLost
        if self.cancelled.is_set():
            raise JobCancelled

    def _mine(self) -> Any:
        return Job.objects.filter(pk=self.job.pk, lease_owner=self.owner, state=JobState.RUNNING)

    def beat(self) -> None:
        """One heartbeat: renews the lease, or notes that it is lost or that a person cancelled."""
        now = timezone.now()
        renewed = self._mine().update(
            heartbeat_at=now, lease_until=now + timedelta(seconds=settings.JOB_LEASE_S)
        )
        if renewed != 1:
            self.lost.set()
        elif self._mine().filter(cancel_requested_at__isnull=False).exists():
            self.cancelled.set()

    @contextlib.contextmanager
    def publish(self) -> Iterator[Ended]:
        """The transaction that ends the job: write the result inside, and name the revision it belongs to.

        Raises LeaseLost when the job is not ours any more; then nothing was written.
        """
        self.check()
        with transaction.atomic():
            locked = Job.objects.select_for_update().get(pk=self.job.pk)
            if locked.lease_owner != self.owner or locked.state != JobState.RUNNING:
                raise LeaseLost
            ended = Ended()
            yield ended
            if self.steps:
                self.steps[-1]["seconds"] = round(time.monotonic() - self._step_started, 2)
            locked.progress = self.steps
            _end(locked, "succeed", revision=ended.revision, log_tail="\n".join(self.log)[-8000:])


def _end(job: Job, action: str, *, revision: Revision | None = None, **fields: Any) -> None:
    job.state = JOB.target(job.state, action)
    job.finished_at = timezone.now()
    job.lease_owner, job.lease_until = "", None
    for name, value in fields.items():
        setattr(job, name, value)
    job.save()
    job_finished.send(sender=Job, job=job, revision=revision)


def _give_up(running: Running, action: str, code: str, sentence: str) -> None:
    with transaction.atomic():
        locked = Job.objects.select_for_update().get(pk=running.job.pk)
        if locked.lease_owner != running.owner or locked.state != JobState.RUNNING:
            return  # somebody else's by now: they will say how it ended
        locked.progress = running.steps
        tail = "\n".join(running.log)[-8000:]
        _end(locked, action, error_code=code, error=sentence, log_tail=tail)
        if action != "cancel":
            audit.record(
                actor=None,
                team=locked.team,
                verb="job.failed",
                subject=locked,
                title=locked.title,
                error=sentence,
            )


def run(job_id: int) -> str:
    """What the Celery task calls. Returns one word for its log."""
    running = _claimed(job_id)
    if running is None:
        return "not-mine"
    if gone := _requester_gone(running.job):
        _give_up(running, "fail", "requester_left", gone)
        return "requester_left"
    heart = threading.Thread(target=_heart, args=(running,), name=f"job-{job_id}-heart", daemon=True)
    heart.start()
    try:
        KINDS[JobKind(running.job.kind)].handler(running)
        return "succeeded"
    except LeaseLost:
        logger.warning("lease_lost", extra={"job": job_id})
        return "lease-lost"
    except JobCancelled:
        _give_up(running, "cancel", "cancelled", "Cancelled by a person while it was running.")
        return "cancelled"
    except DomainError as error:
        action = "time_out" if error.code == "timed_out" else "fail"
        _give_up(running, action, error.code, error.message)
        return error.code
    except Exception:
        logger.exception("job_crashed", extra={"job": job_id})
        _give_up(
            running,
            "fail",
            "crashed",
            "The job stopped on an error that Assay did not expect. The worker's log has the details under this "
            f"job's number ({job_id}); run it again, and tell your administrator if it stays.",
        )
        return "crashed"
    finally:
        running.stop.set()
        heart.join(timeout=5)


def _requester_gone(job: Job) -> str:
    """Why a job is not begun any more although it was asked for, or nothing.

    What a job does belongs to the team, so a person who changes roles in it leaves the job as it is; one who may not even
    see the team now has nothing done in it.
    """
    person = job.requested_by
    if person.is_active and Membership.objects.filter(user=person, team=job.team_id).exists():
        return ""
    return (
        f"{person.display_name}, who asked for it, has left the team {job.team.name} or Assay, so it was not begun. "
        "Somebody of the team can ask for it anew."
    )


def _claimed(job_id: int) -> Running | None:
    owner = owner_name()
    job = claim(job_id, owner)
    return Running(job, owner) if job else None


def _heart(running: Running) -> None:
    try:
        while not running.stop.wait(settings.JOB_HEARTBEAT_S):
            try:
                running.beat()
            except Exception:  # a database that is away for a moment: the lease outlives a few missed beats
                logger.warning("heartbeat_failed", extra={"job": running.job.pk}, exc_info=True)
                close_old_connections()
    finally:
        connection.close()


# --- sweeping ----------------------------------------------------------------------------------------------------------


def sweep() -> dict[str, int]:
    """Brings back what was lost: expired leases, and queued jobs whose bell nobody heard. Safe to run in parallel."""
    now = timezone.now()
    counts = {"requeued": 0, "gave_up": 0, "rung": 0}
    for job in Job.objects.filter(state=JobState.RUNNING, lease_until__lt=now):
        counts[_bring_back(job.pk)] += 1
    late = now - timedelta(seconds=settings.JOB_SWEEP_S)
    for job in Job.objects.filter(Q(rung_at__isnull=True) | Q(rung_at__lt=late), state=JobState.QUEUED)[:200]:
        counts["rung"] += ring(job)
    return counts


@transaction.atomic
def _bring_back(job_id: int) -> str:
    job = Job.objects.select_for_update().get(pk=job_id)
    if job.state != JobState.RUNNING or job.lease_until is None or job.lease_until >= timezone.now():
        return "requeued"  # its worker came back, or another sweeper was faster
    if job.cancel_requested_at:
        _end(
            job,
            "cancel",
            error_code="cancelled",
            error="Cancelled by a person; its worker died before it heard of it.",
        )
        return "gave_up"
    if job.attempt >= settings.JOB_MAX_ATTEMPTS:
        sentence = (
            f"The worker died {job.attempt} times in the middle of this job, so it is not tried again. "
            "Look at the worker's memory and log, then start it anew."
        )
        _end(job, "fail", error_code="worker_lost", error=sentence)
        audit.record(
            actor=None, team=job.team, verb="job.failed", subject=job, title=job.title, error=sentence
        )
        return "gave_up"
    job.state = JOB.target(job.state, "requeue")
    job.lease_owner, job.lease_until, job.rung_at = "", None, None
    job.save()
    transaction.on_commit(lambda: ring(job))
    return "requeued"


def open_job(kind: JobKind, subject: str) -> Job | None:
    return Job.objects.filter(kind=kind, subject=subject, state__in=OPEN_JOB_STATES).first()


def failed(message: str, code: str = "job_failed", **details: Any) -> JobFailed:
    """For handlers: `raise jobs.failed("a sentence")`."""
    return JobFailed(message, code=code, **details)
