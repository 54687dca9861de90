"""Celery's shells: load nothing, decide nothing, call the work module."""

from __future__ import annotations

from celery import shared_task

from registry import jobs
from registry.services import approvals


@shared_task(name="registry.run_job")
def run_job(job_id: int) -> str:
    return jobs.run(job_id)


@shared_task(name="registry.sweep_jobs")
def sweep_jobs() -> dict[str, int]:
    return jobs.sweep()


@shared_task(name="registry.expire_approvals")
def expire_approvals() -> int:
    return approvals.expire_approvals()
