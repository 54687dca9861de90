"""Approved revisions and the channels that point at them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from registry.enums import SERVED_STATUSES, STATUSES, ApprovalStatus, MoveKind, Status
from registry.models.accounts import User
from registry.models.artifacts import SHA256, RegisteredModel, Revision
from registry.models.terms import Terms


class Approval(Terms):
    """The one record that every consumer path answers from. Its content never changes; only its status moves."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="approvals")
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="approvals")
    status = models.CharField(max_length=12, choices=ApprovalStatus.choices, default=ApprovalStatus.ACTIVE)
    environment = models.CharField(max_length=20)
    use_case = models.TextField()
    data_class = models.CharField(max_length=20)
    conditions = models.TextField(blank=True)
    owner = models.CharField(max_length=120, blank=True, help_text="Who answers for the model in use.")
    manifest_sha256 = models.CharField(max_length=64)
    remote_code_sha256 = models.CharField(max_length=64, null=True, blank=True)  # noqa: DJ001 - null means "no code"
    content_sha256 = models.CharField(max_length=64, help_text="Digest of what the votes were cast on.")
    evidence_ids = models.JSONField(default=list)
    policy_version = models.CharField(max_length=40)
    submitted_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    approved_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    approved_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    status_at = models.DateTimeField()
    status_by = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="+", null=True, help_text="Empty: Assay itself (expiry)."
    )
    status_reason = models.TextField(blank=True)

    class Meta(Terms.Meta):
        abstract = False
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["model", "status"]),
            models.Index(fields=["model", "-approved_at", "-id"], name="approval_newest_of_model"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=~Q(submitted_by=F("approved_by")), name="approval_four_eyes"),
            models.CheckConstraint(
                condition=Q(manifest_sha256__regex=SHA256), name="approval_manifest_sha256_hex"
            ),
            models.UniqueConstraint(
                fields=["revision", "environment"],
                condition=Q(
                    status__in=[ApprovalStatus.ACTIVE, ApprovalStatus.DEPRECATED, ApprovalStatus.SUSPENDED]
                ),
                name="one_living_approval_per_revision_and_environment",
            ),
        ]

    def __str__(self) -> str:
        return f"Approval {self.pk} of {self.revision}"

    @property
    def shown_status(self) -> Status:
        """As consumers meet it: past its date it is expired, also before the sweep has written that down."""
        overdue = self.status in SERVED_STATUSES and self.expires_at <= timezone.now()
        return STATUSES[ApprovalStatus.EXPIRED if overdue else self.status]


class Reminder(models.Model):
    """Said once: this approval ends, or is to be looked at again, in so many days. Append-only (database trigger)."""

    approval = models.ForeignKey(Approval, on_delete=models.PROTECT, related_name="reminders")
    kind = models.CharField(max_length=10, choices=[("expiry", "Expiry"), ("review", "Re-review")])
    days = models.PositiveSmallIntegerField(
        help_text="The step that was reached: 30, 14, 7 or 1 days before."
    )
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["approval", "kind", "days"], name="reminder_once"),
        ]

    def __str__(self) -> str:
        return f"{self.approval}: {self.kind} in {self.days} days"


class Channel(models.Model):
    """A named pointer (`production`, `staging`, ...) at an approved revision. `current` follows the last move."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="channels")
    name = models.CharField(max_length=40)
    current = models.ForeignKey(
        Approval, on_delete=models.PROTECT, related_name="live_in", null=True, blank=True
    )

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["model", "name"], name="channel_once_per_model"),
        ]

    def __str__(self) -> str:
        return f"{self.model.model_id} {self.name}"


class ChannelMove(models.Model):
    """One move of a channel: append-only history (database trigger); a rollback is a move like any other."""

    channel = models.ForeignKey(Channel, on_delete=models.PROTECT, related_name="moves")
    number = models.PositiveIntegerField(help_text="1, 2, 3 ... within the channel.")
    kind = models.CharField(max_length=10, choices=MoveKind.choices)
    from_approval = models.ForeignKey(
        Approval, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    to_approval = models.ForeignKey(Approval, on_delete=models.PROTECT, related_name="moves")
    reason = models.TextField()
    at = models.DateTimeField()
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering: ClassVar[list[str]] = ["-number"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["channel", "number"], name="channel_move_numbered_once"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} move {self.number}"


class ServedReplica(models.Model):
    """What an inference server last said it serves; a report, never a decision."""

    replica = models.CharField(max_length=200)
    model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="replicas")
    channel = models.CharField(max_length=40)
    commit_sha = models.CharField(max_length=40)
    state = models.CharField(max_length=12)
    error = models.CharField(max_length=500, blank=True)
    since = models.DateTimeField(null=True, blank=True)
    reported_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["replica", "model", "channel"], name="replica_row_once"),
        ]

    def __str__(self) -> str:
        return f"{self.replica}: {self.channel} {self.commit_sha[:7]}"
