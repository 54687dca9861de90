"""Celery: the doorbell. What is to be done is a job row; a lost or doubled message changes nothing (registry/jobs.py)."""

from __future__ import annotations

import os

from celery import Celery
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("assay")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.conf.beat_schedule = {
    "sweep-jobs": {
        "task": "registry.sweep_jobs",
        "schedule": settings.JOB_SWEEP_S,
        "options": {"queue": "short"},
    },
    "expire-approvals": {"task": "registry.expire_approvals", "schedule": 60, "options": {"queue": "short"}},
    "note-expired-waivers": {
        "task": "reviews.note_expired_waivers",
        "schedule": 60,
        "options": {"queue": "short"},
    },
    "sweep-code-audits": {
        "task": "reviews.sweep_code_audits",
        "schedule": 60,
        "options": {"queue": "short"},
    },
    "write-checkpoints": {
        "task": "registry.write_checkpoints",
        "schedule": 60,
        "options": {"queue": "short"},
    },
    "remind": {"task": "registry.remind", "schedule": 3600, "options": {"queue": "short"}},
    # On the queue of long work: a minute of hashing must not hold up what rings every few seconds.
    "scrub-store": {
        "task": "registry.scrub_store",
        "schedule": settings.SCRUB_S,
        "options": {"queue": "cpu"},
    },
    "collect-garbage": {"task": "registry.collect_garbage", "schedule": 3600, "options": {"queue": "cpu"}},
}
