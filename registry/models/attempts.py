"""Failed attempts, counted. What the limits are stands in registry/attempts.py."""

from __future__ import annotations

from django.db import models


class FailedAttempts(models.Model):
    """How many failures of one key there were since its window began. Rows of past windows are swept away by new ones."""

    key = models.CharField(
        max_length=64, primary_key=True, help_text="HMAC of what is limited and whose attempts they are."
    )
    count = models.PositiveIntegerField()
    since = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.key[:8]}: {self.count}"
