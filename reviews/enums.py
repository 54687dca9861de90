"""The words of a review."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from registry.enums import Status


class ReviewStatus(models.TextChoices):
    DRAFT = "draft", _("Draft")
    SUBMITTED = "submitted", _("Submitted")
    CHECKS_RUNNING = "checks_running", _("Checks running")
    IN_REVIEW = "in_review", _("In review")
    CHANGES_REQUESTED = "changes_requested", _("Changes requested")
    APPROVED = "approved", _("Approved")
    REJECTED = "rejected", _("Rejected")
    WITHDRAWN = "withdrawn", _("Withdrawn")
    SUPERSEDED = "superseded", _("Superseded")


class Environment(models.TextChoices):
    DEVELOPMENT = "development", _("Development")
    STAGING = "staging", _("Staging")
    PRODUCTION = "production", _("Production")


class DataClass(models.TextChoices):
    PUBLIC = "public", _("Public")
    INTERNAL = "internal", _("Internal")
    CONFIDENTIAL = "confidential", _("Confidential")
    PERSONAL = "personal", _("Personal data")


class Verdict(models.TextChoices):
    ACCEPTABLE = "acceptable", _("Acceptable")
    CONCERN = "concern", _("Concern")
    NOT_STATED = "not_stated", _("The card does not say")


class SuggestionState(models.TextChoices):
    """What a person made of the answer that was prefilled."""

    WRITTEN = "written", _("Written")
    ACCEPTED = "accepted", _("Suggestion accepted")
    CORRECTED = "corrected", _("Suggestion corrected")


class FileMark(models.TextChoices):
    """The verdict on one file of code."""

    PASSED = "passed", _("Passed")
    FAILED = "failed", _("Failed")


class Decision(models.TextChoices):
    """What a vote says; the first three are also what a request can end with."""

    APPROVED = "approved", _("Approved")
    APPROVED_WITH_CONDITIONS = "approved_with_conditions", _("Approved with conditions")
    REJECTED = "rejected", _("Rejected")
    NEEDS_LEGAL_REVIEW = "needs_legal_review", _("Needs legal review")


APPROVALS = (Decision.APPROVED, Decision.APPROVED_WITH_CONDITIONS)

OPEN_STATUSES = (
    ReviewStatus.DRAFT,
    ReviewStatus.SUBMITTED,
    ReviewStatus.CHECKS_RUNNING,
    ReviewStatus.IN_REVIEW,
    ReviewStatus.CHANGES_REQUESTED,
)

STATUSES: dict[str, Status] = {
    ReviewStatus.DRAFT: Status(_("Draft"), "file", "neutral"),
    ReviewStatus.SUBMITTED: Status(_("Submitted"), "clock", "info"),
    ReviewStatus.CHECKS_RUNNING: Status(_("Checks running"), "hourglass", "info"),
    ReviewStatus.IN_REVIEW: Status(_("In review"), "clipboard-check", "info"),
    ReviewStatus.CHANGES_REQUESTED: Status(_("Changes requested"), "alert-triangle", "attention"),
    ReviewStatus.APPROVED: Status(_("Approved"), "circle-check", "ok"),
    ReviewStatus.REJECTED: Status(_("Rejected"), "circle-x", "bad"),
    ReviewStatus.WITHDRAWN: Status(_("Withdrawn"), "ban", "ended"),
    ReviewStatus.SUPERSEDED: Status(_("Superseded"), "history", "ended"),
}
