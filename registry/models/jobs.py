"""Jobs as rows: a person can see each one, with who asked, when, what it runs on and why it failed."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q

from registry.enums import OPEN_JOB_STATES, STATUSES, JobKind, JobState, Status
from registry.models.accounts import Team, User


class Job(models.Model):
    """One piece of work. The row and its lease are the truth; the broker's message only rings the bell."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="jobs")
    kind = models.CharField(max_length=20, choices=JobKind.choices)
    subject = models.CharField(
        max_length=300, help_text="What it works on; one open job per kind and subject."
    )
    title = models.CharField(max_length=300)
    params = models.JSONField(default=dict)
    state = models.CharField(max_length=12, choices=JobState.choices, default=JobState.QUEUED)
    queue = models.CharField(max_length=20, default="short")
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="jobs")
    attempt = models.PositiveSmallIntegerField(default=0)
    lease_owner = models.CharField(max_length=120, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    progress = models.JSONField(default=list, help_text="[{step, done, total, seconds}]")
    error_code = models.CharField(max_length=60, blank=True)
    error = models.TextField(blank=True, help_text="Why it failed, in a sentence.")
    log_tail = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    rung_at = models.DateTimeField(null=True, blank=True, help_text="When the broker was last told.")
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["state", "lease_until"]),
            models.Index(fields=["team", "-created_at"]),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["kind", "subject"],
                condition=Q(state__in=OPEN_JOB_STATES),
                name="one_open_job_per_subject_and_kind",
            ),
            models.CheckConstraint(
                condition=(Q(state=JobState.RUNNING) & ~Q(lease_owner="") & Q(lease_until__isnull=False))
                | (~Q(state=JobState.RUNNING) & Q(lease_owner="", lease_until__isnull=True)),
                name="lease_only_while_running",
            ),
            models.CheckConstraint(
                condition=Q(state__in=OPEN_JOB_STATES, finished_at__isnull=True)
                | (~Q(state__in=OPEN_JOB_STATES) & Q(finished_at__isnull=False)),
                name="job_finished_at_when_finished",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def status(self) -> Status:
        return STATUSES[self.state]

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_JOB_STATES

    @property
    def max_attempts(self) -> int:
        return int(settings.JOB_MAX_ATTEMPTS)
