"""What was approved, signed: an in-toto statement over every file, with the decision and what it rests on.

The predicate repeats everything an auditor asks for years later, so that the file alone, and the public key, tell it without
this installation. Form: docs/attestation.md.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone, translation

from registry import audit, checkpoints, dsse, signing
from registry.actors import Actor
from registry.exceptions import NotConfigured, NotFound
from registry.models import Approval, AuditEvent, Evidence, RevisionFile
from registry.words import gettext
from reviews.models import Answer, Attestation, ReviewRequest, Vote

logger = logging.getLogger(__name__)

PREDICATE_TYPE = "urn:assay:decision:1"
# What a decision may carry beyond the columns that every approval has (the decision record).
RECORD = (
    "allowed_environments", "use_cases", "data_classes", "review_by", "monitoring", "rollback_approval_id", "rollback_target",
    "fallback", "data_policy", "owner",
)  # fmt: skip


def attest(actor: Actor | None, request: ReviewRequest) -> Attestation | None:
    """Signs the approval of a decided request, in the decision's transaction. None when it is no approval.

    An installation without a key approves all the same and says so in its log: `manage.py attest` signs later what was
    decided, for none of it can change.
    """
    if request.approval is None:
        return None
    try:
        signing.key_id()
    except NotConfigured as error:
        logger.warning("the approval %s is not attested: %s", request.approval.pk, error.message)
        return None
    with translation.override("en"):  # what is signed does not depend on who was looking
        return write_attestation(actor, request.approval)


@transaction.atomic
def write_attestation(actor: Actor | None, approval: Approval) -> Attestation:
    """Raises NotConfigured when there is no key."""
    envelope = dsse.envelope_of(statement_of(approval))
    payload = base64.b64decode(envelope["payload"])
    made = Attestation.objects.create(
        approval=approval,
        envelope=json.dumps(envelope, indent=2) + "\n",
        files_bundle=_bundle(approval),
        payload_sha256=hashlib.sha256(payload).hexdigest(),
    )
    audit.record(
        actor=actor,
        team=approval.model.team,
        verb="approval.attested",
        subject=approval,
        model_id=approval.model.model_id,
        sha=approval.revision.commit_sha,
        payload_sha256=made.payload_sha256,
        key_id=envelope["signatures"][0]["keyid"],
    )
    return made


def attestation_of(approval: Approval) -> Attestation:
    """Raises NotFound with what to do."""
    found = Attestation.objects.filter(approval=approval).first()
    if found is None:
        raise NotFound(
            gettext(
                "This approval was given while the installation had no signing key. Its operator sets "
                "ASSAY_SIGNING_KEY and runs `manage.py attest`."
            ),
            code="not_attested",
        )
    return found


def bundle_of(approval: Approval) -> str:
    """The files' signature for the `model-signing` library. Raises NotFound with what to do."""
    found = attestation_of(approval).files_bundle
    if not found:
        raise NotFound(
            gettext(
                "The files of this approval were not signed for model-signing: the installation had no key "
                "for that. Its operator sets ASSAY_MODEL_SIGNING_KEY for approvals to come."
            ),
            code="not_attested",
        )
    return found


def _bundle(approval: Approval) -> str:
    files = [(row["path"], row["sha256"]) for row in files_of(approval) if not row["quarantined"]]
    try:
        bundle = dsse.files_bundle(f"{approval.model.model_id}@{approval.revision.commit_sha}", files)
    except NotConfigured:
        return ""
    return json.dumps(bundle, indent=2) + "\n"


def files_of(approval: Approval) -> list[dict[str, Any]]:
    facts = approval.revision.facts if isinstance(approval.revision.facts, dict) else {}
    held = set(facts.get("formats", {}).get("quarantined", []))
    rows = RevisionFile.objects.filter(revision=approval.revision).select_related("blob").order_by("path")
    return [
        {"path": r.path, "size": r.blob.size, "sha256": r.blob_id, "quarantined": r.path in held}
        for r in rows
    ]


def statement_of(approval: Approval) -> dict[str, Any]:
    """The in-toto statement: the files as subjects, the decision as predicate."""
    files = files_of(approval)
    return {
        "_type": dsse.STATEMENT_TYPE,
        "subject": [{"name": file["path"], "digest": {"sha256": file["sha256"]}} for file in files],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            **_content(approval, files),
            **_decision(approval),
            "signed_at": timezone.now().isoformat(),
        },
    }


def _content(approval: Approval, files: list[dict[str, Any]]) -> dict[str, Any]:
    revision = approval.revision
    return {
        "registry": settings.PUBLIC_URL,
        "team": approval.model.team.slug,
        "model_id": approval.model.model_id,
        "commit_sha": revision.commit_sha,
        "manifest_sha256": approval.manifest_sha256,
        "files": files,
        "code_audit": {"verdict": str(revision.code_audit), "sha256": approval.remote_code_sha256},
        "label_mapping": revision.label_mapping,
        "license": revision.license,
    }


def _decision(approval: Approval) -> dict[str, Any]:
    request = ReviewRequest.objects.filter(approval=approval).first()
    receipt = checkpoints.receipt_of(approval)
    return {
        "approval": {
            "id": approval.pk,
            "environment": approval.environment,
            "use_case": approval.use_case,
            "data_class": approval.data_class,
            "conditions": approval.conditions,
            "policy_version": approval.policy_version,
            **_rules(approval),
            "content_sha256": approval.content_sha256,
            "submitted_by": approval.submitted_by.username,
            "approved_by": approval.approved_by.username,
            "approved_at": approval.approved_at.isoformat(),
            "expires_at": approval.expires_at.isoformat(),
            "record": record_of(approval),
        },
        "review": request.pk if request else None,
        "risk": {"tier": request.tier, "votes_needed": request.votes_needed} if request else None,
        "checklist": request.checklist if request else [],
        "answers": [answer_of(row) for row in answers_of(request)],
        "approvers": [vote_of(row) for row in votes_of(request)],
        "evidence": [evidence_of(row) for row in evidence_rows(approval)],
        "audit_event": {"seq": receipt["seq"], "hash": receipt["hash"]} if receipt else None,
    }


def _rules(approval: Approval) -> dict[str, Any]:
    """The policies in force and the waivers when it was decided, as the audit log took them down: both may be others now."""
    event = AuditEvent.objects.filter(
        object_type="approval", object_id=approval.pk, verb="approval.granted"
    ).first()
    data = json.loads(event.body)["data"] if event else {}
    return {"policies": data.get("policies", []), "waivers": data.get("waivers", [])}


def record_of(approval: Approval) -> dict[str, Any]:
    """The decision record as plain JSON; what this approval does not carry is left out."""
    found: dict[str, Any] = {}
    for name in RECORD:
        value = getattr(approval, name, None)
        if value not in (None, "", [], {}):
            found[name] = plain(value)
    return found


def plain(value: Any) -> Any:
    """Dates as text, other rows by what they are called; canonical JSON knows no more than that."""
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def answers_of(request: ReviewRequest | None) -> list[Answer]:
    return list(request.answers.select_related("by").order_by("key")) if request else []


def votes_of(request: ReviewRequest | None) -> list[Vote]:
    return list(request.votes.select_related("reviewer").order_by("pk")) if request else []


def evidence_rows(approval: Approval) -> list[Evidence]:
    return list(Evidence.objects.filter(pk__in=approval.evidence_ids).order_by("pk"))


def answer_of(answer: Answer) -> dict[str, Any]:
    found = {
        "key": answer.key,
        "verdict": str(answer.verdict),
        "text": answer.text,
        "by": answer.by.username,
        "at": answer.at.isoformat(),
    }
    for name in ("value", "carried_from_id"):
        if (value := getattr(answer, name, None)) not in (None, "", {}, []):
            found[name] = plain(value)
    return found


def vote_of(vote: Vote) -> dict[str, Any]:
    return {
        "person": vote.reviewer.username,
        "decision": str(vote.decision),
        "round": vote.round,
        "content_sha256": vote.content_sha256,
        "reason": vote.reason,
        "at": vote.at.isoformat(),
    }


def evidence_of(row: Evidence) -> dict[str, Any]:
    return {
        "id": row.pk,
        "kind": str(row.kind),
        "summary": row.summary,
        "sha256": row.sha256,
        "manifest_sha256": row.manifest_sha256,
        "at": row.created_at.isoformat(),
    }
