"""The rules of reviews that hold whoever writes (installed like registry/triggers.py)."""

from __future__ import annotations

from registry.triggers import Rule, append_only
from reviews.code_audits.rules import RULES as CODE_RULES
from reviews.quorum import votes_needed

_APPROVING = "('approved', 'approved_with_conditions')"


def _fresh_votes(request: str) -> str:
    """People who voted for what the request (an alias, NEW or r) is about now, as a number."""
    return (
        f"(SELECT COUNT(DISTINCT v.reviewer_id) FROM reviews_vote v WHERE v.request_id = {request}.id "
        f"AND v.round = {request}.round AND v.content_sha256 = {request}.content_sha256 AND v.decision IN {_APPROVING})"
    )


def _has_quorum(request: str) -> str:
    """As many as the row says, and never fewer than what it asks for or allows needs, whoever wrote the row."""
    fresh = _fresh_votes(request)
    return f"({fresh} >= {request}.votes_needed AND {fresh} >= {votes_needed(request)})"


def _same_or_none(column: str) -> str:
    """An approval that names none allows what was asked for."""
    return f"CAST(NEW.{column} AS TEXT) IN ('[]', CAST(r.{column} AS TEXT))"


_OF_NEW = (
    "r.revision_id = NEW.revision_id AND r.environment = NEW.environment AND r.status = 'in_review' "
    "AND r.content_sha256 = NEW.content_sha256"
)

# The registry's own table; the rules stand here because only this floor knows what a vote is.
APPROVAL_TERMS = Rule(
    "reviews_approval_terms",
    "registry_approval",
    "INSERT",
    "An approval allows the environments and data that its review decided on, and no others.",
    f"EXISTS (SELECT 1 FROM reviews_reviewrequest r WHERE {_OF_NEW}) AND NOT EXISTS (SELECT 1 FROM reviews_reviewrequest r "
    f"WHERE {_OF_NEW} AND r.data_class = NEW.data_class AND {_same_or_none('allowed_environments')} "
    f"AND {_same_or_none('data_classes')})",
)
APPROVAL_QUORUM = Rule(
    "reviews_approval_quorum",
    "registry_approval",
    "INSERT",
    "An approval is written by a review in progress that has the votes it needs.",
    f"NOT EXISTS (SELECT 1 FROM reviews_reviewrequest r WHERE {_OF_NEW} "
    f"AND {_has_quorum('r')} AND EXISTS (SELECT 1 FROM reviews_vote d WHERE d.request_id = r.id "
    "AND d.round = r.round AND d.reviewer_id = NEW.approved_by_id AND d.content_sha256 = r.content_sha256 "
    f"AND d.decision IN {_APPROVING}))",
)

RULES: list[Rule] = [
    *append_only("reviews_vote", "A vote"),
    *append_only("reviews_checklisttemplateversion", "A version of a checklist template"),
    *append_only("reviews_reviewcomment", "A comment"),
    *append_only("reviews_mention", "A mention"),
    Rule(
        "reviews_request_checklist",
        "reviews_reviewrequest",
        "UPDATE OF checklist, checklist_version, template_id",
        "The checklist of a request was frozen when it was submitted.",
        "NEW.checklist <> OLD.checklist OR NEW.checklist_version <> OLD.checklist_version "
        "OR COALESCE(NEW.template_id, 0) <> COALESCE(OLD.template_id, 0)",
    ),
    Rule(
        "reviews_answer_version",
        "reviews_answer",
        "UPDATE",
        "An answer's version counts its edits, so that nobody overwrites words they have not seen.",
        "NEW.version < OLD.version OR (NEW.version = OLD.version "
        "AND (NEW.text <> OLD.text OR NEW.verdict <> OLD.verdict))",
    ),
    *CODE_RULES,
    *append_only("reviews_attestation", "An attestation"),
    Rule(
        "reviews_policy_no_update", "reviews_policy", "UPDATE", "A policy's name and team cannot be changed."
    ),
    Rule(
        "reviews_policy_no_delete", "reviews_policy", "DELETE", "A policy is a record: it cannot be deleted."
    ),
    Rule(
        "reviews_policyversion_immutable",
        "reviews_policyversion",
        "UPDATE OF policy_id, number, title, source, sha256, author_id, at",
        "What a policy's version says cannot be changed: a change is a new version.",
    ),
    Rule(
        "reviews_policyversion_final",
        "reviews_policyversion",
        "UPDATE OF state",
        "A policy's version goes from draft or dry run into force, and a retired one stays retired.",
        "OLD.state = 'retired' OR NEW.state = 'draft' OR (OLD.state = 'in_force' AND NEW.state <> 'retired')",
    ),
    Rule(
        "reviews_policyversion_no_delete",
        "reviews_policyversion",
        "DELETE",
        "A policy's version is a record: it cannot be deleted.",
    ),
    Rule(
        "reviews_waiver_immutable",
        "reviews_waiver",
        "UPDATE OF revision_id, rule, reason, owner_id, by_id, at, expires_at",
        "A waiver cannot be changed: end it, and record another.",
    ),
    Rule(
        "reviews_waiver_ended",
        "reviews_waiver",
        "UPDATE OF ended_at, ended_by_id",
        "A waiver that has ended stays so.",
        "OLD.ended_at IS NOT NULL",
    ),
    Rule(
        "reviews_waiver_no_delete", "reviews_waiver", "DELETE", "A waiver is a record: it cannot be deleted."
    ),
    Rule(
        "reviews_waiver_four_eyes",
        "reviews_waiver",
        "INSERT",
        "Whoever submitted a model cannot waive its violations, nor answer for the waiver.",
        "EXISTS (SELECT 1 FROM reviews_reviewrequest WHERE revision_id = NEW.revision_id "
        "AND submitted_by_id IN (NEW.by_id, NEW.owner_id))",
    ),
    Rule(
        "reviews_vote_last_editor",
        "reviews_vote",
        "INSERT",
        "Who last edited a submission cannot approve it.",
        f"NEW.decision IN {_APPROVING} AND NEW.reviewer_id = "
        "(SELECT edited_by_id FROM reviews_reviewrequest WHERE id = NEW.request_id)",
    ),
    Rule(
        "reviews_vote_fresh",
        "reviews_vote",
        "INSERT",
        "A vote is cast on what is under review now: its digest is another.",
        "NEW.content_sha256 <> (SELECT content_sha256 FROM reviews_reviewrequest WHERE id = NEW.request_id)",
    ),
    Rule(
        "reviews_vote_four_eyes",
        "reviews_vote",
        "INSERT",
        "The submitter of a model cannot vote on it.",
        "NEW.reviewer_id = (SELECT submitted_by_id FROM reviews_reviewrequest WHERE id = NEW.request_id)",
    ),
    Rule(
        "reviews_vote_in_review",
        "reviews_vote",
        "INSERT",
        "Votes are cast in the current round of a request that is in review.",
        "NOT EXISTS (SELECT 1 FROM reviews_reviewrequest WHERE id = NEW.request_id AND status = 'in_review' "
        "AND round = NEW.round)",
    ),
    Rule(
        "reviews_request_decided",
        "reviews_reviewrequest",
        "UPDATE",
        "A decided, withdrawn or superseded review stays as it is: a new decision is a new request.",
        "OLD.status IN ('approved', 'rejected', 'withdrawn', 'superseded')",
    ),
    Rule(
        "reviews_request_voted",
        "reviews_reviewrequest",
        "UPDATE OF status",
        "A decision needs a vote of its decider in this round.",
        "NEW.status IN ('approved', 'rejected') AND NOT EXISTS (SELECT 1 FROM reviews_vote v "
        "WHERE v.request_id = NEW.id AND v.round = NEW.round AND v.reviewer_id = NEW.decision_by_id "
        "AND v.content_sha256 = NEW.content_sha256 AND ((NEW.status = 'rejected' AND v.decision = 'rejected') "
        f"OR (NEW.status = 'approved' AND v.decision IN {_APPROVING})))",
    ),
    Rule(
        "reviews_request_quorum",
        "reviews_reviewrequest",
        "UPDATE OF status",
        "An approval needs as many fresh votes as its risk tier asks for.",
        f"NEW.status = 'approved' AND NOT {_has_quorum('NEW')}",
    ),
    Rule(
        "reviews_request_votes_kept",
        "reviews_reviewrequest",
        "UPDATE OF votes_needed, allowed_environments, data_classes, legal_asked",
        "A review needs the votes of the widest use that its record allows.",
        f"NEW.status = 'in_review' AND NEW.votes_needed < {votes_needed('NEW')}",
    ),
    Rule(
        "reviews_request_legal_kept",
        "reviews_reviewrequest",
        "UPDATE OF legal_asked",
        "Legal was asked about this review, and stays asked.",
        "OLD.legal_asked AND NOT NEW.legal_asked",
    ),
    Rule(
        "reviews_request_question",
        "reviews_reviewrequest",
        "UPDATE OF environment, data_class",
        "Where a model shall be used and on which data is asked once: another question is another review.",
        "NEW.environment <> OLD.environment OR NEW.data_class <> OLD.data_class",
    ),
    APPROVAL_TERMS,
    APPROVAL_QUORUM,
    Rule(
        "reviews_request_submitter",
        "reviews_reviewrequest",
        "UPDATE OF submitted_by_id, model_id, team_id",
        "Who submitted what cannot be changed.",
        "NEW.submitted_by_id <> OLD.submitted_by_id OR NEW.model_id <> OLD.model_id OR NEW.team_id <> OLD.team_id",
    ),
    Rule(
        "reviews_request_no_delete",
        "reviews_reviewrequest",
        "DELETE",
        "A review is a record: it cannot be deleted.",
    ),
    *[
        Rule(
            f"reviews_answer_in_review_{event.lower()}",
            "reviews_answer",
            event,
            "Answers change only while the request is in review.",
            "NOT EXISTS (SELECT 1 FROM reviews_reviewrequest WHERE id = NEW.request_id AND status = 'in_review')",
        )
        for event in ("INSERT", "UPDATE")
    ],
    *[
        Rule(
            f"reviews_answer_four_eyes_{event.lower()}",
            "reviews_answer",
            event,
            "The submitter of a model cannot answer its checklist.",
            "NEW.by_id = (SELECT submitted_by_id FROM reviews_reviewrequest WHERE id = NEW.request_id)",
        )
        for event in ("INSERT", "UPDATE")
    ],
    # What was carried over from an earlier review is nobody's word on this one yet: the next round works it out anew.
    Rule(
        "reviews_answer_no_delete",
        "reviews_answer",
        "DELETE",
        "An answer is a record: it cannot be deleted.",
        "OLD.carried_from_id IS NULL",
    ),
]
