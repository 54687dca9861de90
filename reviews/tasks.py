"""Celery's shells of reviews: load nothing, decide nothing, call the work module."""

from __future__ import annotations

from celery import shared_task

from reviews.services import policies


@shared_task(name="reviews.note_expired_waivers")
def note_expired_waivers() -> int:
    return policies.note_expired_waivers()
