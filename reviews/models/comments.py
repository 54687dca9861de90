"""What people say to each other about a review. Append-only (database trigger): a word that was read stays."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from registry.models import User
from reviews.models.requests import ReviewRequest


class CommentKind(models.TextChoices):
    COMMENT = "comment", _("Comment")
    CHANGE = "change", _("Change asked for")
    RESOLVED = "resolved", _("Resolved")
    REOPENED = "reopened", _("Reopened")


class ReviewComment(models.Model):
    """One entry of a thread. The first entry has no `thread`; the others point at it.

    `key` is the item it is about, empty for the review as a whole. Whether a thread is open is its last RESOLVED or
    REOPENED entry: no column is ever changed.
    """

    request = models.ForeignKey(ReviewRequest, on_delete=models.PROTECT, related_name="comments")
    thread = models.ForeignKey("self", on_delete=models.PROTECT, related_name="replies", null=True)
    key = models.CharField(max_length=60, blank=True)
    kind = models.CharField(max_length=20, choices=CommentKind.choices, default=CommentKind.COMMENT)
    text = models.TextField(blank=True)
    round = models.PositiveSmallIntegerField()
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["request", "key"])]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(kind__in=[CommentKind.RESOLVED, CommentKind.REOPENED], thread__isnull=False)
                | (Q(kind__in=[CommentKind.COMMENT, CommentKind.CHANGE]) & ~Q(text="")),
                name="comment_has_words_or_a_thread",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} on review {self.request_id}"


class Mention(models.Model):
    """Somebody was named with @ in a comment. Append-only."""

    comment = models.ForeignKey(ReviewComment, on_delete=models.PROTECT, related_name="mentions")
    user = models.ForeignKey(User, on_delete=models.PROTECT, related_name="mentions")

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["comment", "user"], name="one_mention_per_comment_and_person"),
        ]

    def __str__(self) -> str:
        return f"@{self.user} in {self.comment_id}"
