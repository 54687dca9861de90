"""The terms of use: what reviewers write down with an approval. On the request while it is discussed, then on the approval."""

from __future__ import annotations

from typing import Any

from django.db import models


class Terms(models.Model):
    """Where, for what and on which data a revision may be used, how it is watched, and what happens when it fails."""

    allowed_environments = models.JSONField(default=list, blank=True, help_text='["staging", "production"]')
    use_cases = models.JSONField(
        default=list, blank=True, help_text='[{"slug", "text"}]: what it may decide.'
    )
    data_classes = models.JSONField(default=list, blank=True, help_text='["public", "internal"]')
    review_by = models.DateField(null=True, blank=True, help_text="When people look at it again.")
    monitoring = models.JSONField(default=list, blank=True, help_text='[{"metric", "op", "threshold"}]')
    rollback_approval = models.ForeignKey(
        "registry.Approval", on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    rollback_target = models.CharField(
        max_length=300, blank=True, help_text="What takes over, when it is not one of Assay's approvals."
    )
    fallback = models.TextField(blank=True, help_text="What the product does without any model.")
    data_policy = models.TextField(
        blank=True, help_text="What may be sent to it, kept of it, and for how long."
    )

    class Meta:
        abstract = True

    def terms(self) -> dict[str, Any]:
        """The terms as plain data, for digests, answers and copies."""
        return {
            "allowed_environments": list(self.allowed_environments),
            "use_cases": list(self.use_cases),
            "data_classes": list(self.data_classes),
            "review_by": self.review_by.isoformat() if self.review_by else None,
            "monitoring": list(self.monitoring),
            "rollback_approval": self.rollback_approval_id,
            "rollback_target": self.rollback_target,
            "fallback": self.fallback,
            "data_policy": self.data_policy,
        }
