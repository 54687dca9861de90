"""Pages' downloads of what proves a decision. The API serves the same (reviews/api/proof.py)."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from registry import queries
from registry.access import MEMBER, access, actor_of
from reviews import attestations
from reviews.downloads import file_answer


@access(get=MEMBER)
def approval_attestation(request: HttpRequest, pk: int) -> HttpResponse:
    approval = queries.get_or_404(queries.approvals_of(actor_of(request)), pk=pk)
    content = attestations.attestation_of(approval).envelope.encode()
    return file_answer(content, f"approval-{pk}.intoto.json", "application/json")


@access(get=MEMBER)
def approval_model_signature(request: HttpRequest, pk: int) -> HttpResponse:
    approval = queries.get_or_404(queries.approvals_of(actor_of(request)), pk=pk)
    return file_answer(attestations.bundle_of(approval).encode(), f"approval-{pk}.sig", "application/json")
