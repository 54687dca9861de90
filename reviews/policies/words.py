"""The words of the shipped policy (default.yaml), so that the catalogue has them: a rule is data, its sentences are read."""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

SHIPPED: tuple[str, ...] = (
    _("Minimum for production"),
    _("Model card reviewed"),
    _("All {review.items} items of the checklist are answered."),
    _("{review.open_items} of {review.items} items of the checklist are not answered."),
    _("a reviewer"),
    _("Licence approved"),
    _("Declared: {licence.declared}. Judged by {licence.judged_by}."),
    _(
        "The reviewer does not accept the licence ({licence.declared}, judged {licence.verdict}) without "
        "conditions of use."
    ),
    _("Declared: {licence.declared}. No reviewer has judged it yet."),
    _("Revision pinned"),
    _("Commit {revision.sha} with the digest of every file."),
    _("It is not pinned to one commit."),
    _("a submitter"),
    _("Loads in the inference wrapper"),
    _("Loaded from verified files, without remote code, and answered."),
    _("It does not load in the inference wrapper."),
    _("Not tried in the inference wrapper yet: no run has finished."),
    _("whoever starts a benchmark"),
    _("Benchmark on named hardware"),
    _("{benchmark.summary}."),
    _("Production needs a benchmark of this revision."),
    _("a submitter or reviewer, on the revision's page"),
    _("Golden set passed"),
    _("{evaluation.summary}."),
    _("{evaluation.summary}. That is worse than what production serves ({regression.incumbent_accuracy})."),
    _("Production needs a golden-set evaluation of this revision."),
    _("Monitoring thresholds set"),
    _("{monitoring.thresholds} thresholds are watched."),
    _("No metric with a threshold is named for the time in use."),
    _("a reviewer, in the decision"),
    _("Data policy stated"),
    _("The decision says which data it may see."),
    _("The decision does not say which data it may see and keep."),
    _("Rollback target named"),
    _("If it fails, this takes over: {rollback.target}."),
    _("Nothing is named that takes over when it fails."),
    _("No other revision is approved and no fallback is named, so there is nothing to go back to."),
    _("Code audit settled"),
    _("The audit of its code: {code.audit}."),
    _("The repository carries code and its audit has not passed, so it cannot be approved."),
    _("a security auditor"),
    _("No finding that fails"),
    _("{findings.fail} findings of the inspection fail: {findings.first_fail}"),
    _("the author of the model; or a reviewer, with a waiver"),
    _("Commit of the default branch"),
    _(
        "Its commit is not in the history of the repository's default branch, so nobody knows that its owner "
        "stands behind it. Submit a commit of the default branch, or let a reviewer record a waiver."
    ),
    _("It was never asked whether its commit is in the history of the default branch."),
    _("the submitter; or a reviewer, with a waiver"),
)
