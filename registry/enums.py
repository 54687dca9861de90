"""The words of the registry: roles, scopes and the states of the small machines. Each state knows how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


@dataclass(frozen=True)
class Status:
    """How a state is shown: words, icon and tone together, never colour alone.

    The label is in the reader's language. Sentences of refusals take the enumeration's own, which stays English.
    """

    label: StrOrPromise
    icon: str
    tone: str


class Role(models.TextChoices):
    """What a person may do inside one team. A person can hold several."""

    VIEWER = "viewer", _("Viewer")
    SUBMITTER = "submitter", _("Submitter")
    REVIEWER = "reviewer", _("Reviewer")
    SECURITY_AUDITOR = "security_auditor", _("Security auditor")
    LEGAL = "legal_reviewer", _("Legal reviewer")
    RELEASE_MANAGER = "release_manager", _("Release manager")
    ADMIN = "admin", _("Admin")
    AUDITOR = "auditor", _("Auditor")


class Scope(models.TextChoices):
    """What a token may do, at most: a token acts with its owner's roles cut down to its scopes."""

    READ = "read", _("Read models, approvals, reviews, runs and the audit log; no contents of files")
    ARTIFACTS = "artifacts", _("Download files of approved models, and read their code files")
    INFER = "infer", _("Call the inference endpoint")
    SUBMIT = "submit", _("Submit models, comment, add golden sets, start and cancel runs")
    REVIEW = "review", _("Answer and decide reviews, audit code, waive violations")
    RELEASE = "release", _("Move and roll back channels; suspend, resume and deprecate approvals")
    ADMIN = (
        "admin",
        _("Change policies and checklist templates, revoke and retire approvals, make and revoke tokens"),
    )
    SERVE = "serve", _("Serve models to every team (inference servers only)")


class ApprovalStatus(models.TextChoices):
    ACTIVE = "active", _("Approved")
    DEPRECATED = "deprecated", _("Deprecated")
    RETIRED = "retired", _("Retired")
    SUSPENDED = "suspended", _("Suspended")
    REVOKED = "revoked", _("Revoked")
    EXPIRED = "expired", _("Expired")


class CodeAudit(models.TextChoices):
    """Verdict on the code that a repository carries; `not_applicable` is computed, never chosen."""

    NOT_APPLICABLE = "not_applicable", _("No code in the repository")
    PENDING = "pending", _("Code waits for its audit")
    PASSED = "passed", _("Code audit passed")
    FAILED = "failed", _("Code audit failed")
    WAIVED = "waived", _("Code audit waived")


class JobState(models.TextChoices):
    QUEUED = "queued", _("Queued")
    RUNNING = "running", _("Running")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")
    TIMED_OUT = "timed_out", _("Timed out")


class JobKind(models.TextChoices):
    INTAKE = "intake", _("Intake")
    BENCHMARK = "benchmark", _("Benchmark")
    EVALUATION = "evaluation", _("Evaluation")


class EvidenceKind(models.TextChoices):
    BENCHMARK = "benchmark", _("Benchmark")
    EVALUATION = "evaluation", _("Evaluation")


class MoveKind(models.TextChoices):
    MOVE = "move", _("Moved")
    ROLLBACK = "rollback", _("Rolled back")


OPEN_JOB_STATES = (JobState.QUEUED, JobState.RUNNING)
SERVED_STATUSES = (ApprovalStatus.ACTIVE, ApprovalStatus.DEPRECATED)

STATUSES: dict[str, Status] = {
    ApprovalStatus.ACTIVE: Status(_("Approved"), "circle-check", "ok"),
    ApprovalStatus.DEPRECATED: Status(_("Deprecated"), "alert-triangle", "attention"),
    ApprovalStatus.RETIRED: Status(_("Retired"), "history", "ended"),
    ApprovalStatus.SUSPENDED: Status(_("Suspended"), "ban", "bad"),
    ApprovalStatus.REVOKED: Status(_("Revoked"), "ban", "bad"),
    ApprovalStatus.EXPIRED: Status(_("Expired"), "clock", "ended"),
    JobState.QUEUED: Status(_("Queued"), "clock", "neutral"),
    JobState.RUNNING: Status(_("Running"), "hourglass", "info"),
    JobState.SUCCEEDED: Status(_("Succeeded"), "circle-check", "ok"),
    JobState.FAILED: Status(_("Failed"), "circle-x", "bad"),
    JobState.CANCELLED: Status(_("Cancelled"), "ban", "ended"),
    JobState.TIMED_OUT: Status(_("Timed out"), "clock", "bad"),
}
