"""What a finished intake means for the requests that wait for it. Runs in the job's own transaction."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction

from inference.services.measurements import request_measurements
from registry.actors import actor_for
from registry.enums import JobKind, JobState
from registry.models import Job, Revision
from registry.signals import job_finished, job_started
from reviews import machines
from reviews.code_audits.judging import inherit
from reviews.enums import ReviewStatus
from reviews.models import ReviewRequest
from reviews.services.carrying import carry_over
from reviews.services.recording import open_for_votes, risk_named
from reviews.services.submissions import supersede_older


def _waiting(job: Job) -> list[int]:
    states = (ReviewStatus.SUBMITTED, ReviewStatus.CHECKS_RUNNING)
    return list(ReviewRequest.objects.filter(intake_job=job, status__in=states).values_list("pk", flat=True))


def on_job_started(job: Job, **kwargs: Any) -> None:
    if job.kind != JobKind.INTAKE:
        return
    for pk in _waiting(job):
        request = machines.lock(pk)
        if request.status == ReviewStatus.SUBMITTED:
            machines.move(request, "start_checks", actor=None)


def on_job_finished(job: Job, revision: Revision | None, **kwargs: Any) -> None:
    """Intake succeeded: open the review and measure. It failed: back to the submitter, with the sentence."""
    if job.kind != JobKind.INTAKE:
        return
    for pk in _waiting(job):
        request = machines.lock(pk)
        if job.state == JobState.SUCCEEDED and revision is not None:
            _open_review(request, revision)
        else:
            machines.move(request, "fail_checks", actor=None, problem=job.error, data={"reason": job.error})


def _open_review(request: ReviewRequest, revision: Revision) -> None:
    if request.status == ReviewStatus.SUBMITTED:
        request = machines.move(request, "start_checks", actor=None)
    try:
        with transaction.atomic():
            enter_review(request, revision)
    except IntegrityError:  # the database allows one review per revision and environment
        request = machines.lock(request.pk)
        problem = f"{revision} is already under review for {request.environment}. Follow that review instead."
        machines.move(request, "fail_checks", actor=None, problem=problem, data={"reason": problem})
        return
    inherit(revision.pk)
    supersede_older(machines.lock(request.pk))
    request_measurements(actor=actor_for(request.submitted_by, request.team), revision=revision)


def enter_review(request: ReviewRequest, revision: Revision) -> None:
    """`request` is locked and its checks are running: seats, record and digest are set, and people may begin."""
    request.revision = revision
    open_for_votes(request)
    machines.move(request, "pass_checks", actor=None, data=risk_named(request))
    carry_over(request)  # answers are written in review only


def connect() -> None:
    job_started.connect(on_job_started, sender=Job, dispatch_uid="reviews.job_started")
    job_finished.connect(on_job_finished, sender=Job, dispatch_uid="reviews.job_finished")
