"""Pages' downloads of what proves a decision. The API serves the same (reviews/api/proof.py)."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse

from registry import checkpoints, permissions, queries
from registry.access import MEMBER, access, actor_of
from registry.actors import Actor
from registry.models import Approval
from registry.permissions import Action
from reviews import attestations, exports
from reviews.downloads import file_answer
from reviews.exports import tables
from reviews.models import Attestation


def proof_context(actor: Actor, approval: Approval | None) -> dict[str, Any]:
    """What the revision page's panel shows of the proof: receipt, attestation, exports."""
    return {
        "exports": exports.KINDS,
        "export_reason": permissions.reason_against(actor, Action.EXPORT_RECORD),
        "receipt": checkpoints.receipt_of(approval) if approval else None,
        "attested": Attestation.objects.filter(approval=approval).first() if approval else None,
    }


@access(get=MEMBER)
def approval_attestation(request: HttpRequest, pk: int) -> HttpResponse:
    approval = queries.get_or_404(queries.approvals_of(actor_of(request)), pk=pk)
    content = attestations.attestation_of(approval).envelope.encode()
    return file_answer(content, f"approval-{pk}.intoto.json", "application/json")


@access(get=MEMBER)
def approval_model_signature(request: HttpRequest, pk: int) -> HttpResponse:
    approval = queries.get_or_404(queries.approvals_of(actor_of(request)), pk=pk)
    return file_answer(attestations.bundle_of(approval).encode(), f"approval-{pk}.sig", "application/json")


@access(get=MEMBER)
def revision_export(request: HttpRequest, pk: int, kind: str) -> HttpResponse:
    actor = actor_of(request)
    revision = queries.get_or_404(queries.revisions_of(actor), pk=pk)
    made = exports.export_revision(actor=actor, revision=revision, kind=kind)
    return file_answer(made.content, made.name, made.content_type, inline=made.inline)


@access(get=MEMBER)
def approvals_table(request: HttpRequest) -> HttpResponse:
    return file_answer(
        tables.export_approvals(actor=actor_of(request)), "approvals.csv", "text/csv; charset=utf-8"
    )


@access(get=MEMBER)
def events_table(request: HttpRequest) -> HttpResponse:
    return file_answer(tables.export_events(actor=actor_of(request)), "audit.csv", "text/csv; charset=utf-8")
