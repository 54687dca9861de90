"""Celery's shells: load nothing, decide nothing, call the work module."""

from __future__ import annotations

from celery import shared_task

from reviews.code_audits import judging


@shared_task(name="reviews.sweep_code_audits")
def sweep_code_audits() -> int:
    return judging.sweep()
