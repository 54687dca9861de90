"""The words of a review."""

from __future__ import annotations

from django.db import models

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
    ACCEPTABLE = "acceptable", "Acceptable"
    CONCERN = "concern", "Concern"
    NOT_STATED = "not_stated", "The card does not say"


class Decision(models.TextChoices):
    APPROVED = "approved", "Approved"
    REJECTED = "rejected", "Rejected"


OPEN_STATUSES = (
    ReviewStatus.DRAFT,
    ReviewStatus.SUBMITTED,
    ReviewStatus.CHECKS_RUNNING,
    ReviewStatus.IN_REVIEW,
    ReviewStatus.CHANGES_REQUESTED,
)

STATUSES: dict[str, Status] = {
    ReviewStatus.DRAFT: Status("Draft", "file", "neutral"),
    ReviewStatus.SUBMITTED: Status("Submitted", "clock", "blue"),
    ReviewStatus.CHECKS_RUNNING: Status("Checks running", "hourglass", "blue"),
    ReviewStatus.IN_REVIEW: Status("In review", "clipboard-check", "blue"),
    ReviewStatus.CHANGES_REQUESTED: Status("Changes requested", "alert-triangle", "amber"),
    ReviewStatus.APPROVED: Status("Approved", "circle-check", "green"),
    ReviewStatus.REJECTED: Status("Rejected", "circle-x", "red"),
    ReviewStatus.WITHDRAWN: Status("Withdrawn", "ban", "grey"),
    ReviewStatus.SUPERSEDED: Status("Superseded", "history", "grey"),
}
