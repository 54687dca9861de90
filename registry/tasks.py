"""Celery's shells: load nothing, decide nothing, call the work module."""

from __future__ import annotations

from celery import shared_task
from django.conf import settings

from registry import checkpoints, jobs
from registry.services import approvals, integrity, reminders


@shared_task(name="registry.run_job")
def run_job(job_id: int) -> str:
    return jobs.run(job_id)


@shared_task(name="registry.sweep_jobs")
def sweep_jobs() -> dict[str, int]:
    return jobs.sweep()


@shared_task(name="registry.expire_approvals")
def expire_approvals() -> int:
    return approvals.expire_approvals()


@shared_task(name="registry.write_checkpoints")
def write_checkpoints() -> dict[str, int]:
    return checkpoints.write_all()


@shared_task(name="registry.heal_blob")
def heal_blob(sha256: str) -> str:
    return integrity.heal(sha256)


@shared_task(name="registry.scrub_store")
def scrub_store() -> dict[str, int]:
    return integrity.scrub(settings.SCRUB_BUDGET_S)


@shared_task(name="registry.collect_garbage")
def collect_garbage() -> dict[str, int]:
    return integrity.collect()


@shared_task(name="registry.remind")
def remind() -> int:
    return reminders.remind()
