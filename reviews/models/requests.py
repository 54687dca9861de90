"""A request for review, the answers to its checklist and the votes on it."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from registry.enums import Status
from registry.models import Approval, Job, RegisteredModel, Revision, Team, User
from registry.models.terms import Terms
from reviews.enums import (
    APPROVALS,
    OPEN_STATUSES,
    STATUSES,
    DataClass,
    Decision,
    Environment,
    ReviewStatus,
    SuggestionState,
    Verdict,
)
from reviews.models.templates import ChecklistTemplateVersion
from reviews.tiers import CHOICES, Risk, risk_of

CHECKED = (ReviewStatus.IN_REVIEW, ReviewStatus.APPROVED, ReviewStatus.REJECTED)


class ReviewRequest(Terms):
    """One question to the reviewers: may this revision be used for that, there, with such data?"""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="review_requests")
    model = models.ForeignKey(RegisteredModel, on_delete=models.PROTECT, related_name="review_requests")
    requested_revision = models.CharField(max_length=200)
    revision = models.ForeignKey(
        Revision, on_delete=models.PROTECT, related_name="review_requests", null=True, blank=True
    )
    use_case = models.TextField()
    environment = models.CharField(max_length=20, choices=Environment.choices)
    data_class = models.CharField(max_length=20, choices=DataClass.choices)
    owner = models.CharField(max_length=120, help_text="Who answers for the model in use.")
    status = models.CharField(max_length=20, choices=ReviewStatus.choices, default=ReviewStatus.DRAFT)
    status_at = models.DateTimeField(auto_now_add=True)
    status_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True)
    problem = models.TextField(blank=True, help_text="What the submitter has to see to, in sentences.")
    checklist = models.JSONField(default=list, help_text="The items as they were when it was submitted.")
    checklist_version = models.CharField(max_length=40)
    template = models.ForeignKey(
        ChecklistTemplateVersion, on_delete=models.PROTECT, related_name="requests", null=True, blank=True
    )
    round = models.PositiveSmallIntegerField(default=1)
    intake_job = models.ForeignKey(
        Job, on_delete=models.PROTECT, related_name="review_requests", null=True, blank=True
    )
    submitted_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="submissions")
    submitted_at = models.DateTimeField()
    edited_by = models.ForeignKey(
        User,
        on_delete=models.PROTECT,
        related_name="+",
        null=True,
        help_text="Who last wrote the submission: submitted it, changed it or submitted it again.",
    )
    tier = models.CharField(max_length=6, choices=CHOICES, default="low")  # `risk.tier`, kept for queries
    votes_needed = models.PositiveSmallIntegerField(default=1)
    legal_asked = models.BooleanField(default=False)
    legal_reason = models.TextField(blank=True, help_text="Why a legal reviewer has to vote.")
    content_sha256 = models.CharField(
        max_length=64,
        blank=True,
        help_text="Digest of what is voted on now; a vote on another digest is stale.",
    )
    expires_at = models.DateTimeField(null=True, blank=True, help_text="When the approval shall end.")
    follows = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="followed_by", null=True, blank=True,
        help_text="The approved review of an earlier commit whose answers were carried over.",
    )  # fmt: skip
    delta = models.JSONField(
        default=list, blank=True, help_text="What changed since then, as classes: see reviews/delta.py."
    )
    decision = models.CharField(max_length=30, choices=Decision.choices, blank=True)
    decision_at = models.DateTimeField(null=True, blank=True)
    decision_by = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="decisions", null=True, blank=True
    )
    decision_reason = models.TextField(blank=True)
    conditions = models.TextField(blank=True)
    approval = models.OneToOneField(
        Approval, on_delete=models.PROTECT, related_name="review_request", null=True, blank=True
    )

    class Meta(Terms.Meta):
        abstract = False
        indexes: ClassVar[list[models.Index]] = [models.Index(fields=["team", "status", "-submitted_at"])]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(decision="", decision_at__isnull=True, decision_by__isnull=True)
                | (~Q(decision="") & Q(decision_at__isnull=False, decision_by__isnull=False)),
                name="decision_all_or_none",
            ),
            models.CheckConstraint(
                condition=Q(decision_by__isnull=True) | ~Q(decision_by=F("submitted_by")),
                name="review_four_eyes",
            ),
            models.CheckConstraint(
                condition=Q(status=ReviewStatus.APPROVED, decision__in=APPROVALS, approval__isnull=False)
                | Q(status=ReviewStatus.REJECTED, decision=Decision.REJECTED, approval__isnull=True)
                | (
                    ~Q(status__in=[ReviewStatus.APPROVED, ReviewStatus.REJECTED])
                    & Q(decision="", approval__isnull=True)
                ),
                name="review_status_is_its_decision",
            ),
            models.CheckConstraint(
                condition=~Q(status__in=CHECKED) | Q(revision__isnull=False), name="review_needs_a_revision"
            ),
            models.CheckConstraint(
                condition=Q(tier="low", votes_needed__gte=1) | (~Q(tier="low") & Q(votes_needed__gte=2)),
                name="review_votes_needed_by_tier",
            ),
            models.UniqueConstraint(
                fields=["revision", "environment"],
                condition=Q(status=ReviewStatus.IN_REVIEW),
                name="one_review_per_revision_and_environment",
            ),
        ]

    def __str__(self) -> str:
        return f"Review {self.pk} of {self.model.model_id}"

    @property
    def shown_status(self) -> Status:
        return STATUSES[self.status]

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def risk(self) -> Risk:
        """Of the question and of whatever its decision record allows besides."""
        return risk_of(self, self.revision.pipeline_tag if self.revision else "")


class Answer(models.Model):
    """What a reviewer says to one item of the checklist.

    `value` is what its type asks for (a number, an option, a link), `text` the words beside it. `suggestion` is what was
    offered when it was written (with its sources), `suggestion_state` what the person made of it. `version` counts its
    edits: whoever saves says which one they saw. `carried_from` is set by a delta review.
    """

    request = models.ForeignKey(ReviewRequest, on_delete=models.PROTECT, related_name="answers")
    key = models.CharField(max_length=60)
    verdict = models.CharField(max_length=20, choices=Verdict.choices)
    value = models.JSONField(null=True, blank=True)
    text = models.TextField(blank=True)
    suggestion = models.JSONField(null=True, blank=True)
    suggestion_state = models.CharField(
        max_length=20, choices=SuggestionState.choices, default=SuggestionState.WRITTEN
    )
    version = models.PositiveIntegerField(default=1)
    carried_from = models.ForeignKey(
        "self", on_delete=models.PROTECT, related_name="carried_to", null=True, blank=True
    )
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["request", "key"], name="one_answer_per_item"),
        ]

    def __str__(self) -> str:
        return f"{self.key}: {self.verdict}"


class Vote(models.Model):
    """One person's vote, bound to the digest of what was voted on; on another digest it is stale. Append-only (trigger)."""

    request = models.ForeignKey(ReviewRequest, on_delete=models.PROTECT, related_name="votes")
    round = models.PositiveSmallIntegerField()
    reviewer = models.ForeignKey(User, on_delete=models.PROTECT, related_name="votes")
    decision = models.CharField(max_length=30, choices=Decision.choices)
    roles = models.JSONField(default=list, help_text="The person's roles when the vote was cast.")
    content_sha256 = models.CharField(max_length=64)
    reason = models.TextField(blank=True)
    at = models.DateTimeField()

    class Meta:
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["request", "round", "reviewer", "content_sha256"],
                name="one_vote_per_reviewer_and_content",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reviewer} {self.decision}"
