"""Golden sets, and asking for measurements."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from inference.models import GoldenSet
from inference.services.golden_sets import MAX_BYTES, create_golden_set
from inference.services.measurements import request_benchmark, request_evaluation
from registry import permissions, queries
from registry.access import MEMBER, member, rules
from registry.api.serializers import JobSerializer
from registry.api.views import actor_in, id_of, paged, valid
from registry.enums import Scope
from registry.exceptions import InvalidInput


class GoldenSetSerializer(serializers.ModelSerializer[GoldenSet]):
    class Meta:
        model = GoldenSet
        fields = ["id", "model_id", "name", "sha256", "labels", "size", "created_at"]


class GoldenSetInput(serializers.Serializer[Any]):
    model_id = serializers.CharField(max_length=400)
    name = serializers.CharField(max_length=80)
    file = serializers.FileField(help_text="CSV, UTF-8, columns text and label.", allow_empty_file=True)


class EvaluationInput(serializers.Serializer[Any]):
    golden_set = serializers.IntegerField(min_value=1)


class GoldenSetListView(APIView):
    access = rules(get=MEMBER, post=member(Scope.SUBMIT))
    parser_classes = [MultiPartParser]

    @extend_schema(responses=GoldenSetSerializer(many=True), summary="Golden sets of my team")
    def get(self, request: Request) -> Response:
        rows = GoldenSet.objects.filter(team=actor_in(request).in_team).order_by("-pk")
        return paged(request, rows, GoldenSetSerializer)

    @extend_schema(
        request={"multipart/form-data": GoldenSetInput},
        responses={201: GoldenSetSerializer},
        summary="Add a golden set",
    )
    def post(self, request: Request) -> Response:
        actor = actor_in(request)
        permissions.check(actor, permissions.Action.ADD_GOLDEN_SET)
        data = valid(GoldenSetInput(data=request.data))
        if data["file"].size > MAX_BYTES:
            raise InvalidInput(
                "A golden set has at most 5 MB. Split it, or keep the telling examples.", code="too_large"
            )
        golden_set = create_golden_set(
            actor=actor, model_id=data["model_id"], name=data["name"], data=data["file"].read()
        )
        return Response(GoldenSetSerializer(golden_set).data, status=201)


class BenchmarkView(APIView):
    access = rules(post=member(Scope.SUBMIT))

    @extend_schema(request=None, responses={202: JobSerializer}, summary="Benchmark a revision (speed)")
    def post(self, request: Request, org: str, name: str, commit_sha: str) -> Response:
        actor = actor_in(request)
        revision = queries.get_or_404(
            queries.revisions_of(actor), model__model_id=id_of(org, name), commit_sha=commit_sha
        )
        return Response(JobSerializer(request_benchmark(actor=actor, revision=revision)).data, status=202)


class EvaluationView(APIView):
    access = rules(post=member(Scope.SUBMIT))

    @extend_schema(
        request=EvaluationInput,
        responses={202: JobSerializer, 422: OpenApiTypes.OBJECT},
        summary="Evaluate a revision (quality)",
    )
    def post(self, request: Request, org: str, name: str, commit_sha: str) -> Response:
        actor = actor_in(request)
        revision = queries.get_or_404(
            queries.revisions_of(actor), model__model_id=id_of(org, name), commit_sha=commit_sha
        )
        permissions.check(actor, permissions.Action.RUN_MEASUREMENT)
        data = valid(EvaluationInput(data=request.data))
        golden_set = queries.get_or_404(GoldenSet.objects.filter(team=actor.in_team), pk=data["golden_set"])
        job = request_evaluation(actor=actor, revision=revision, golden_set=golden_set)
        return Response(JobSerializer(job).data, status=202)
