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
from registry.api.views import actor_in, id_of
from reviews import attestations, exports
from reviews.downloads import file_answer
from reviews.exports import tables

CSV = "text/csv; charset=utf-8"


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


class ExportView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(
        responses={
            (200, "text/html"): OpenApiTypes.STR,
            (200, "application/pdf"): OpenApiTypes.BINARY,
            (200, "application/json"): OpenApiTypes.OBJECT,
            (200, "text/markdown"): OpenApiTypes.STR,
            (200, "application/vnd.cyclonedx+json"): OpenApiTypes.OBJECT,
            (403, "application/json"): ErrorAnswer,
            (404, "application/json"): ErrorAnswer,
            (501, "application/json"): ErrorAnswer,
        },
        summary="Export a revision: dossier, dossier-pdf, dossier-json, review-template, ml-bom",
    )
    def get(self, request: Request, org: str, name: str, commit_sha: str, kind: str) -> HttpResponse:
        actor = actor_in(request)
        rows = queries.revisions_of(actor)
        revision = queries.get_or_404(rows, model__model_id=id_of(org, name), commit_sha=commit_sha)
        made = exports.export_revision(actor=actor, revision=revision, kind=kind)
        return file_answer(made.content, made.name, made.content_type)


class ApprovalsTableView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR}, summary="Approvals of my team as CSV")
    def get(self, request: Request) -> HttpResponse:
        return file_answer(tables.export_approvals(actor=actor_in(request)), "approvals.csv", CSV)


class EventsTableView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(responses={(200, "text/csv"): OpenApiTypes.STR}, summary="Audit events of my team as CSV")
    def get(self, request: Request) -> HttpResponse:
        return file_answer(tables.export_events(actor=actor_in(request)), "audit.csv", CSV)
