"""Policies in numbered versions, and waivers of single violations. Versions and waivers are records (database triggers)."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q
from django.utils.translation import gettext_lazy as _

from registry.enums import Status
from registry.models import Revision, Team, User


class PolicyState(models.TextChoices):
    DRAFT = "draft", _("Draft")
    DRY_RUN = "dry_run", _("Dry run")
    IN_FORCE = "in_force", _("In force")
    RETIRED = "retired", _("Retired")


POLICY_STATES: dict[str, Status] = {
    PolicyState.DRAFT: Status(_("Draft"), "file", "neutral"),
    PolicyState.DRY_RUN: Status(_("Dry run"), "eye", "info"),
    PolicyState.IN_FORCE: Status(_("In force"), "shield", "ok"),
    PolicyState.RETIRED: Status(_("Retired"), "history", "ended"),
}


class Policy(models.Model):
    """A name within a team; what it says stands in its versions."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="policies")
    key = models.CharField(max_length=60)

    class Meta:
        verbose_name_plural = "policies"
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["team", "key"], name="policy_once_per_team"),
        ]

    def __str__(self) -> str:
        return self.key


class PolicyVersion(models.Model):
    """The rules as written. Only its state moves: draft, dry run, in force, retired."""

    policy = models.ForeignKey(Policy, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField(help_text="1, 2, 3 ... within the policy.")
    title = models.CharField(max_length=120)
    source = models.TextField(help_text="YAML, as it was written.")
    sha256 = models.CharField(max_length=64)
    author = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    state = models.CharField(max_length=10, choices=PolicyState.choices, default=PolicyState.DRAFT)
    state_at = models.DateTimeField()
    state_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["policy", "number"], name="policy_version_numbered_once"),
            models.UniqueConstraint(
                fields=["policy"], condition=Q(state=PolicyState.IN_FORCE), name="one_version_in_force"
            ),
            models.UniqueConstraint(
                fields=["policy"], condition=Q(state=PolicyState.DRY_RUN), name="one_version_in_dry_run"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.policy.key} version {self.number}"

    @property
    def shown_state(self) -> Status:
        return POLICY_STATES[self.state]


class Waiver(models.Model):
    """For a time, one rule does not stand in one revision's way. It ends by its date, or earlier by hand."""

    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="waivers")
    rule = models.CharField(max_length=130, help_text="policy/rule")
    reason = models.TextField()
    owner = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="+", help_text="Who answers for the risk."
    )
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True, blank=True)
    expiry_noted_at = models.DateTimeField(
        null=True, blank=True, help_text="When the audit log took it down."
    )

    class Meta:
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["revision", "rule", "expires_at"])]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=Q(expires_at__gt=F("at")), name="waiver_ends_after_it_starts"),
            models.CheckConstraint(condition=~Q(reason=""), name="waiver_has_a_reason"),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ended_by__isnull=True)
                | Q(ended_at__isnull=False, ended_by__isnull=False),
                name="waiver_ended_by_somebody",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rule} of {self.revision}"
