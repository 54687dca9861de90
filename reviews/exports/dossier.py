"""Everything that stands behind a revision, as one plain document: what an auditor asks for in one place."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from registry import audit, checkpoints
from registry.actors import Actor
from registry.models import Approval, AuditEvent, ChannelMove, Evidence, Revision
from reviews import attestations
from reviews.models import ReviewRequest

SCHEMA = "assay.dossier/1"


def dossier_of(actor: Actor, revision: Revision) -> dict[str, Any]:
    """The revision's record as JSON: identity, decisions, reviews, evidence, findings, files, releases, trail."""
    approvals = list(
        Approval.objects.filter(revision=revision)
        .select_related("model__team", "revision", "approved_by", "submitted_by")
        .order_by("approved_at")
    )
    requests = list(
        ReviewRequest.objects.filter(revision=revision)
        .select_related("model", "submitted_by", "decision_by")
        .order_by("pk")
    )
    evidence = list(Evidence.objects.filter(revision=revision).order_by("pk"))
    return {
        "schema": SCHEMA,
        "registry": settings.PUBLIC_URL,
        "made_at": timezone.now().isoformat(),
        "made_by": actor.user.display_name,
        "team": actor.in_team.name,
        "revision": _identity(revision),
        "approvals": [_approval(row) for row in approvals],
        "reviews": [_review(row) for row in requests],
        "evidence": [{**attestations.evidence_of(row), "data": row.data} for row in evidence],
        "findings": revision.findings,
        "files": _files(revision),
        "channel_moves": _moves(revision),
        "trail": _trail(actor, revision, approvals, requests, evidence),
    }


def _identity(revision: Revision) -> dict[str, Any]:
    facts = revision.facts if isinstance(revision.facts, dict) else {}
    return {
        "model_id": revision.model.model_id,
        "commit_sha": revision.commit_sha,
        "requested_revision": revision.requested_revision,
        "manifest_sha256": revision.manifest_sha256,
        "total_size": revision.total_size,
        "task": revision.pipeline_tag,
        "library": revision.library_name,
        "license": revision.license,
        "label_mapping": revision.label_mapping,
        "code_audit": str(revision.code_audit),
        "code_sha256": revision.remote_code_sha256,
        "code_files": [
            {key: entry.get(key) for key in ("path", "sha256")} for entry in facts.get("code", [])
        ],
        "parameters": facts.get("weights", {}).get("parameters"),
        "committed_at": revision.committed_at.isoformat() if revision.committed_at else None,
        "recorded_at": revision.created_at.isoformat(),
    }


def _approval(approval: Approval) -> dict[str, Any]:
    attested = getattr(approval, "attestation", None)
    return {
        "id": approval.pk,
        "status": str(approval.status),
        "status_at": approval.status_at.isoformat(),
        "status_reason": approval.status_reason,
        "environment": approval.environment,
        "use_case": approval.use_case,
        "data_class": approval.data_class,
        "conditions": approval.conditions,
        "policy_version": approval.policy_version,
        "content_sha256": approval.content_sha256,
        "submitted_by": approval.submitted_by.display_name,
        "approved_by": approval.approved_by.display_name,
        "approved_at": approval.approved_at.isoformat(),
        "expires_at": approval.expires_at.isoformat(),
        "evidence_ids": approval.evidence_ids,
        "record": attestations.record_of(approval),
        "receipt": checkpoints.receipt_of(approval),
        "attestation_sha256": attested.payload_sha256 if attested else None,
    }


def _review(request: ReviewRequest) -> dict[str, Any]:
    given = {answer.key: answer for answer in attestations.answers_of(request)}
    return {
        "id": request.pk,
        "status": str(request.status),
        "submitted_by": request.submitted_by.display_name,
        "submitted_at": request.submitted_at.isoformat(),
        "environment": request.environment,
        "use_case": request.use_case,
        "data_class": request.data_class,
        "owner": request.owner,
        "checklist_version": request.checklist_version,
        "items": [
            {
                "key": item["key"],
                "title": item["title"],
                "question": item.get("question", ""),
                "answer": attestations.answer_of(given[item["key"]]) if item["key"] in given else None,
            }
            for item in request.checklist
        ],
        "votes": [attestations.vote_of(vote) for vote in attestations.votes_of(request)],
        "decision": request.decision,
        "decision_by": request.decision_by.display_name if request.decision_by else None,
        "decision_at": request.decision_at.isoformat() if request.decision_at else None,
        "decision_reason": request.decision_reason,
        "conditions": request.conditions,
    }


def _files(revision: Revision) -> list[dict[str, Any]]:
    facts = revision.facts if isinstance(revision.facts, dict) else {}
    held = set(facts.get("formats", {}).get("quarantined", []))
    return [
        {"path": row.path, "size": row.blob.size, "sha256": row.blob_id, "quarantined": row.path in held}
        for row in revision.files.select_related("blob").order_by("path")
    ]


def _moves(revision: Revision) -> list[dict[str, Any]]:
    rows = ChannelMove.objects.filter(
        Q(to_approval__revision=revision) | Q(from_approval__revision=revision)
    ).select_related("channel", "by", "to_approval__revision", "from_approval__revision")
    return [
        {
            "channel": row.channel.name,
            "number": row.number,
            "kind": str(row.kind),
            "from": row.from_approval.revision.commit_sha if row.from_approval else None,
            "to": row.to_approval.revision.commit_sha,
            "by": row.by.display_name,
            "at": row.at.isoformat(),
            "reason": row.reason,
        }
        for row in rows.order_by("at", "pk")
    ]


def _trail(
    actor: Actor,
    revision: Revision,
    approvals: list[Approval],
    requests: list[ReviewRequest],
    evidence: list[Evidence],
) -> list[dict[str, Any]]:
    wanted = Q(object_type="revision", object_id=revision.pk)
    wanted |= Q(object_type="approval", object_id__in=[row.pk for row in approvals])
    wanted |= Q(object_type="reviewrequest", object_id__in=[row.pk for row in requests])
    wanted |= Q(object_type="evidence", object_id__in=[row.pk for row in evidence])
    rows = list(AuditEvent.objects.filter(wanted, team_id=actor.in_team.pk).order_by("seq"))
    return [
        {"seq": event.seq, "at": event.at.isoformat(), "verb": event.verb, "sentence": shown.sentence,
         "hash": bytes(event.hash).hex()}
        for event, shown in zip(rows, audit.shown(rows), strict=True)
    ]  # fmt: skip
