"""The words of a review."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from registry.enums import Status


class ReviewStatus(models.TextChoices):
    DRAFT = "draft", "Draft"
    SUBMITTED = "submitted", "Submitted"
    CHECKS_RUNNING = "checks_running", "Checks running"
    IN_REVIEW = "in_review", "In review"
    CHANGES_REQUESTED = "changes_requested", "Changes requested"
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"
    WITHDRAWN = "withdrawn", "Withdrawn"
    SUPERSEDED = "superseded", "Superseded"


class Environment(models.TextChoices):
    DEVELOPMENT = "development", "Development"
    STAGING = "staging", "Staging"
    PRODUCTION = "production", "Production"


class DataClass(models.TextChoices):
    PUBLIC = "public", "Public"
    INTERNAL = "internal", "Internal"
    CONFIDENTIAL = "confidential", "Confidential"
    PERSONAL = "personal", "Personal data"


class Verdict(models.TextChoices):
    ACCEPTABLE = "acceptable", _("Acceptable")
    CONCERN = "concern", _("Concern")
    NOT_STATED = "not_stated", _("The card does not say")


class SuggestionState(models.TextChoices):
    """What a person made of the answer that was prefilled."""

    WRITTEN = "written", "Written"
    ACCEPTED = "accepted", "Suggestion accepted"
    CORRECTED = "corrected", "Suggestion corrected"


class FileMark(models.TextChoices):
    """The verdict on one file of code."""

    PASSED = "passed", "Passed"
    FAILED = "failed", "Failed"


class Decision(models.TextChoices):
    """What a vote says; the first three are also what a request can end with."""

    APPROVED = "approved", "Approved"
    APPROVED_WITH_CONDITIONS = "approved_with_conditions", "Approved with conditions"
    REJECTED = "rejected", "Rejected"
    NEEDS_LEGAL_REVIEW = "needs_legal_review", "Needs legal review"


APPROVALS = (Decision.APPROVED, Decision.APPROVED_WITH_CONDITIONS)

OPEN_STATUSES = (
    ReviewStatus.DRAFT,
    ReviewStatus.SUBMITTED,
    ReviewStatus.CHECKS_RUNNING,
    ReviewStatus.IN_REVIEW,
    ReviewStatus.CHANGES_REQUESTED,
)

STATUSES: dict[str, Status] = {
    ReviewStatus.DRAFT: Status("Draft", "file", "neutral"),
    ReviewStatus.SUBMITTED: Status("Submitted", "clock", "info"),
    ReviewStatus.CHECKS_RUNNING: Status("Checks running", "hourglass", "info"),
    ReviewStatus.IN_REVIEW: Status("In review", "clipboard-check", "info"),
    ReviewStatus.CHANGES_REQUESTED: Status("Changes requested", "alert-triangle", "attention"),
    ReviewStatus.APPROVED: Status("Approved", "circle-check", "ok"),
    ReviewStatus.REJECTED: Status("Rejected", "circle-x", "bad"),
    ReviewStatus.WITHDRAWN: Status("Withdrawn", "ban", "ended"),
    ReviewStatus.SUPERSEDED: Status("Superseded", "history", "ended"),
}
