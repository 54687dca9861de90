"""The consumer map: which token has which revision."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from registry.models.accounts import Team, User
from registry.models.artifacts import Revision


class Download(models.Model):
    """One token's use of one revision through the Hub endpoint. It outlives the token: the copy outlives it, too."""

    token = models.CharField(max_length=16, help_text="The token's public id.")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="downloads")
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="downloads")
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="downloads")
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField(help_text="The last answer about this revision, with or without bytes.")
    bytes = models.BigIntegerField(default=0, help_text="Bytes of file content that were sent.")
    files = models.BigIntegerField(
        default=0, help_text="File answers with content; a resumed file counts again."
    )

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["token", "revision"], name="download_once_per_token_and_revision"
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["revision", "-last_seen"])]

    def __str__(self) -> str:
        return f"{self.token} has {self.revision}"
