"""The rules of code audits that hold whoever writes (installed with reviews/triggers.py)."""

from __future__ import annotations

from registry.remote_code import SUFFIXES
from registry.triggers import Rule, append_only

_CODE = "(" + " OR ".join(f"LOWER(f.path) LIKE '%{suffix}'" for suffix in SUFFIXES) + ")"
_ENDED = "('rejected', 'withdrawn', 'superseded')"


def _audited(person: str, revision: str, team: str) -> str:
    """SQL: has this person judged a file of that revision, or waived its audit? As `auditors_of` says it in Python."""
    return (
        f"(EXISTS (SELECT 1 FROM reviews_fileverdict v WHERE v.by_id = {person} AND (v.revision_id = {revision} OR "
        f"(v.team_id = {team} AND v.sha256 IN (SELECT blob_id FROM registry_revisionfile WHERE revision_id = {revision})))) "
        f"OR EXISTS (SELECT 1 FROM reviews_codewaiver w WHERE w.by_id = {person} AND w.revision_id = {revision} "
        "AND w.ended_at IS NULL))"
    )


def _submitted(person: str, revision: str) -> str:
    return (
        f"{person} IN (SELECT submitted_by_id FROM reviews_reviewrequest WHERE revision_id = {revision} "
        f"AND status NOT IN {_ENDED})"
    )


def _approved(person: str, files: str) -> str:
    """SQL: has this person voted to approve a revision for which `files` (about request `q`) is true?"""
    return (
        "EXISTS (SELECT 1 FROM reviews_vote o JOIN reviews_reviewrequest q ON q.id = o.request_id "
        f"WHERE o.reviewer_id = {person} AND o.decision = 'approved' AND o.round = q.round "
        f"AND q.status NOT IN {_ENDED} AND ({files}))"
    )


_TEAM_OF_NEW_VERDICT = (
    "(SELECT m.team_id FROM registry_revision r JOIN registry_registeredmodel m ON m.id = r.model_id "
    "WHERE r.id = NEW.revision_id)"
)
_TEAM_OF_NEW_REVISION = "(SELECT team_id FROM registry_registeredmodel WHERE id = NEW.model_id)"

RULES: list[Rule] = [
    *append_only("reviews_fileverdict", "A verdict on code"),
    Rule(
        "reviews_fileverdict_team",
        "reviews_fileverdict",
        "INSERT",
        "A verdict on code belongs to the team of its revision.",
        f"NEW.team_id <> {_TEAM_OF_NEW_VERDICT}",
    ),
    Rule(
        "reviews_fileverdict_four_eyes",
        "reviews_fileverdict",
        "INSERT",
        "The submitter of a model cannot audit its code.",
        _submitted("NEW.by_id", "NEW.revision_id"),
    ),
    Rule(
        "reviews_fileverdict_approver",
        "reviews_fileverdict",
        "INSERT",
        "Who voted to approve a revision cannot audit its code.",
        _approved(
            "NEW.by_id",
            "q.revision_id = NEW.revision_id OR (q.team_id = NEW.team_id AND EXISTS (SELECT 1 FROM registry_revisionfile g "
            "WHERE g.revision_id = q.revision_id AND g.blob_id = NEW.sha256))",
        ),
    ),
    Rule(
        "reviews_codewaiver_four_eyes",
        "reviews_codewaiver",
        "INSERT",
        "The submitter of a model cannot waive the audit of its code, nor answer for the waiver.",
        f"{_submitted('NEW.by_id', 'NEW.revision_id')} OR {_submitted('NEW.owner_id', 'NEW.revision_id')}",
    ),
    Rule(
        "reviews_codewaiver_approver",
        "reviews_codewaiver",
        "INSERT",
        "Who voted to approve a revision cannot waive the audit of its code.",
        _approved("NEW.by_id", "q.revision_id = NEW.revision_id"),
    ),
    Rule(
        "reviews_codewaiver_immutable",
        "reviews_codewaiver",
        "UPDATE OF revision_id, reason, owner_id, by_id, at, expires_at",
        "A waiver stays as it was given: only its end is written.",
    ),
    Rule(
        "reviews_codewaiver_final",
        "reviews_codewaiver",
        "UPDATE",
        "A waiver that has ended stays so.",
        "OLD.ended_at IS NOT NULL",
    ),
    Rule(
        "reviews_codewaiver_no_delete",
        "reviews_codewaiver",
        "DELETE",
        "A waiver is a record: it cannot be deleted.",
    ),
    Rule(
        "reviews_vote_auditor",
        "reviews_vote",
        "INSERT",
        "Who audited the code of a revision cannot vote to approve it.",
        "NEW.decision IN ('approved', 'approved_with_conditions') AND "
        + _audited(
            "NEW.reviewer_id",
            "(SELECT revision_id FROM reviews_reviewrequest WHERE id = NEW.request_id)",
            "(SELECT team_id FROM reviews_reviewrequest WHERE id = NEW.request_id)",
        ),
    ),
    Rule(
        "reviews_approval_auditor",
        "registry_approval",
        "INSERT",
        "Who audited the code of a revision cannot approve it.",
        _audited("NEW.approved_by_id", "NEW.revision_id", _TEAM_OF_NEW_REVISION),
    ),
    Rule(
        "reviews_approval_own_audit",
        "registry_approval",
        "INSERT",
        "The submitter of a model cannot be the auditor of its code.",
        "EXISTS (SELECT 1 FROM registry_revisionfile f JOIN registry_revision r ON r.id = f.revision_id "
        f"WHERE f.revision_id = NEW.revision_id AND r.code_audit = 'passed' AND {_CODE} AND NEW.submitted_by_id = "
        "(SELECT v.by_id FROM reviews_fileverdict v WHERE v.sha256 = f.blob_id "
        f"AND v.team_id = {_TEAM_OF_NEW_REVISION} ORDER BY v.id DESC LIMIT 1))",
    ),
    # What the registry serves by: it follows the verdicts, whoever writes it.
    Rule(
        "reviews_revision_starts_unaudited",
        "registry_revision",
        "INSERT",
        "The code of a new revision has not been audited yet.",
        "NEW.code_audit NOT IN ('not_applicable', 'pending')",
    ),
    Rule(
        "reviews_revision_passed",
        "registry_revision",
        "UPDATE OF code_audit",
        "A code audit has passed when the newest verdict on every file is that it passed.",
        "NEW.code_audit = 'passed' AND EXISTS (SELECT 1 FROM registry_revisionfile f WHERE f.revision_id = NEW.id "
        f"AND {_CODE} AND COALESCE((SELECT v.verdict FROM reviews_fileverdict v WHERE v.sha256 = f.blob_id "
        f"AND v.team_id = {_TEAM_OF_NEW_REVISION} ORDER BY v.id DESC LIMIT 1), '') <> 'passed')",
    ),
    Rule(
        "reviews_revision_waived",
        "registry_revision",
        "UPDATE OF code_audit, code_waived_until",
        "A code audit is waived by a waiver, until it ends.",
        "NEW.code_audit = 'waived' AND NOT EXISTS (SELECT 1 FROM reviews_codewaiver w WHERE w.revision_id = NEW.id "
        "AND w.ended_at IS NULL AND w.expires_at = NEW.code_waived_until)",
    ),
]
