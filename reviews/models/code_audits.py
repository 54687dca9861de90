"""The audit of a repository's code: a verdict per file and digest, and the waiver that may stand in for a while."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from registry.models import Revision, Team, User
from registry.models.artifacts import SHA256
from reviews.enums import FileMark


class FileVerdict(models.Model):
    """What a security auditor says of one digest. Append-only (database trigger): the newest of a team decides.

    It is about bytes, so it holds wherever the team meets these bytes again; `revision` and `path` say where they were read.
    """

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="file_verdicts")
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="file_verdicts")
    path = models.CharField(max_length=500)
    sha256 = models.CharField(max_length=64)
    verdict = models.CharField(max_length=10, choices=FileMark.choices)
    reason = models.TextField(blank=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="file_verdicts")
    at = models.DateTimeField()

    class Meta:
        ordering: ClassVar[list[str]] = ["-pk"]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["team", "sha256", "-id"], name="file_verdict_newest"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(sha256__regex=SHA256), name="file_verdict_sha256_hex"),
            models.CheckConstraint(
                condition=Q(verdict=FileMark.PASSED) | (Q(verdict=FileMark.FAILED) & ~Q(reason="")),
                name="file_verdict_failed_says_why",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.path} {self.verdict} at {self.revision.short_sha}"


class CodeWaiver(models.Model):
    """Somebody takes the risk of unread code, for a while. A record: only its end is ever written (database trigger)."""

    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="code_waivers")
    reason = models.TextField()
    owner = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="+", help_text="Who answers for the risk."
    )
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        blank=True,
        help_text="Empty: its time was over, or the audit was completed.",
    )

    class Meta:
        ordering: ClassVar[list[str]] = ["-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["revision"], condition=Q(ended_at__isnull=True), name="one_code_waiver_at_a_time"
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=F("at")), name="code_waiver_ends_later"),
            models.CheckConstraint(condition=~Q(reason=""), name="code_waiver_says_why"),
            models.CheckConstraint(
                condition=Q(ended_by__isnull=True) | Q(ended_at__isnull=False),
                name="code_waiver_ended_by_ended",
            ),
        ]

    def __str__(self) -> str:
        return f"Waiver of the code audit of {self.revision}"
