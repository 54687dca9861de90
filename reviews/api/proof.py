"""What can be carried out of the house: attestations and their companions."""

from __future__ import annotations

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.views import APIView

from registry import queries
from registry.access import MEMBER, rules
from registry.api.serializers import ErrorAnswer
from registry.api.views import actor_in
from reviews import attestations
from reviews.downloads import file_answer


class AttestationView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(
        responses={200: OpenApiTypes.OBJECT, 404: ErrorAnswer},
        summary="The signed attestation of an approval: an in-toto statement in a DSSE envelope",
    )
    def get(self, request: Request, pk: int) -> HttpResponse:
        approval = queries.get_or_404(queries.approvals_of(actor_in(request)), pk=pk)
        return file_answer(
            attestations.attestation_of(approval).envelope.encode(),
            f"approval-{pk}.intoto.json",
            "application/json",
        )


class ModelSignatureView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(
        responses={200: OpenApiTypes.OBJECT, 404: ErrorAnswer},
        summary="The files of an approval, signed for `model_signing verify key`: a Sigstore bundle",
    )
    def get(self, request: Request, pk: int) -> HttpResponse:
        approval = queries.get_or_404(queries.approvals_of(actor_in(request)), pk=pk)
        return file_answer(
            attestations.bundle_of(approval).encode(), f"approval-{pk}.sig", "application/json"
        )
