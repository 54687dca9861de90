"""Celery's shells: load nothing, decide nothing, call the work module."""

from __future__ import annotations

from celery import shared_task

from reviews.code_audits import judging
from reviews.services import policies


@shared_task(name="reviews.sweep_code_audits")
def sweep_code_audits() -> int:
    return judging.sweep()


@shared_task(name="reviews.note_expired_waivers")
def note_expired_waivers() -> int:
    return policies.note_expired_waivers()
