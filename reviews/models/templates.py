"""Checklist templates as versions. A version is never edited: requests that were submitted with it must stay readable."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from registry.models import Team, User


class ChecklistTemplate(models.Model):
    """A named list of questions. Without a team it is the one that Assay ships."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="checklist_templates", null=True)
    slug = models.SlugField(max_length=40)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["team", "slug"], name="one_template_per_team_and_slug"),
            models.UniqueConstraint(
                fields=["slug"], condition=models.Q(team__isnull=True), name="one_shipped_template_per_slug"
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class ChecklistTemplateVersion(models.Model):
    """One version: the YAML as it was uploaded and what was read from it. Append-only (database trigger)."""

    template = models.ForeignKey(ChecklistTemplate, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    source = models.TextField()
    name = models.JSONField()
    items = models.JSONField()
    sha256 = models.CharField(max_length=64)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True)
    at = models.DateTimeField()
    note = models.TextField(blank=True)

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["template", "number"], name="one_template_version_per_number"),
        ]

    def __str__(self) -> str:
        return self.label

    @property
    def label(self) -> str:
        """What requests and approvals keep as `checklist_version`."""
        return f"{self.template.slug}/{self.number}"
