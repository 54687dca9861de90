"""Policies, their simulator and waivers for programs. YAML or JSON in; the same services as the pages."""

from __future__ import annotations

import json
from typing import Any

import yaml
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry import queries
from registry.access import MEMBER, member, rules
from registry.api.serializers import ErrorAnswer
from registry.api.views import actor_in, paged, valid
from registry.enums import Scope
from registry.exceptions import InvalidInput
from registry.permissions import Action, check
from reviews.models import PolicyState, PolicyVersion, Waiver
from reviews.policies.documents import MAX_BYTES
from reviews.policies.gate import policies_in_force
from reviews.policies.simulator import simulate
from reviews.queries import policy_versions_of, waivers_of
from reviews.services.policies import end_waiver, grant_waiver, move_policy, save_policy


class YamlText(BaseParser):
    """The body as the text of a policy: kept as it was written, comments included."""

    media_type = "application/yaml"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> dict[str, Any]:
        return {"source": _text(stream.read(MAX_BYTES + 1))}


class PolicyJson(BaseParser):
    """{"source": YAML text, ...}, or the policy itself as an object."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> dict[str, Any]:
        try:
            found = json.loads(_text(stream.read(4 * MAX_BYTES)))
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"The body is not JSON: {str(error)[:200]}.", code="bad_json") from None
        if not isinstance(found, dict):
            raise InvalidInput("The body is not a JSON object.", code="bad_json")
        if "rules" in found:
            extra = {key: found.pop(key) for key in ("state", "seen") if key in found}
            return {"source": yaml.safe_dump(found, sort_keys=False, allow_unicode=True, width=120), **extra}
        return found


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("The body is not UTF-8 text.", code="bad_encoding") from None


class PolicyInput(serializers.Serializer[Any]):
    source = serializers.CharField(  # type: ignore[assignment] # the field of the API, not DRF's own attribute
        max_length=4 * MAX_BYTES, trim_whitespace=False, help_text="The policy as YAML."
    )
    state = serializers.ChoiceField(choices=["draft", "dry_run", "in_force"], default="draft")
    seen = serializers.IntegerField(
        required=False, allow_null=True, default=None,
        help_text="The version you started from; refused with 409 when there is a newer one.",
    )  # fmt: skip


class PolicyStateInput(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=["dry_run", "in_force", "retired"])


class PolicyVersionSerializer(serializers.ModelSerializer[PolicyVersion]):
    policy = serializers.CharField(source="policy.key")
    author = serializers.CharField(source="author.username")

    class Meta:
        model = PolicyVersion
        fields = ["id", "policy", "number", "title", "state", "state_at", "sha256", "author", "at", "source"]


class WaiverSerializer(serializers.ModelSerializer[Waiver]):
    model_id = serializers.CharField(source="revision.model.model_id")
    commit_sha = serializers.CharField(source="revision.commit_sha")
    owner = serializers.CharField(source="owner.username")
    by = serializers.CharField(source="by.username")
    ended_by = serializers.CharField(source="ended_by.username", default=None)

    class Meta:
        model = Waiver
        fields = [
            "id",
            "model_id",
            "commit_sha",
            "rule",
            "reason",
            "owner",
            "by",
            "at",
            "expires_at",
            "ended_at",
            "ended_by",
        ]


class RuleWaiverInput(serializers.Serializer[Any]):
    model_id = serializers.CharField(max_length=200)
    commit_sha = serializers.RegexField(r"^[0-9a-f]{40}$")
    rule = serializers.CharField(max_length=130, help_text="policy/rule")
    reason = serializers.CharField(max_length=2000)
    days = serializers.IntegerField()
    owner = serializers.CharField(max_length=150, required=False, default="", help_text="Empty: you.")


class PolicyListView(APIView):
    access = rules(get=MEMBER, put=member(Scope.ADMIN))
    parser_classes = (PolicyJson, YamlText)

    @extend_schema(
        responses=OpenApiTypes.OBJECT, summary="What is in force or on a dry run, and every saved version"
    )
    def get(self, request: Request) -> Response:
        actor = actor_in(request)
        standing = [
            {
                "policy": p.document.key, "title": p.document.title, "number": p.number, "state": p.state,
                "sha256": p.document.sha256, "source": p.document.source,
            }
            for p in policies_in_force(actor.in_team.pk, dry_run=True)
        ]  # fmt: skip
        versions = policy_versions_of(actor).order_by("policy__key", "-number")[:200]
        return Response({"standing": standing, "versions": PolicyVersionSerializer(versions, many=True).data})

    @extend_schema(
        request={"application/json": PolicyInput, "application/yaml": OpenApiTypes.STR},
        responses={201: PolicyVersionSerializer, 409: ErrorAnswer, 422: ErrorAnswer},
        summary="Save a new version of a policy (YAML, or JSON)",
    )
    def put(self, request: Request) -> Response:
        actor = actor_in(request)
        check(actor, Action.EDIT_POLICY)
        version = save_policy(actor=actor, **valid(PolicyInput(data=request.data)))
        return Response(PolicyVersionSerializer(version).data, status=201)


class PolicyVersionView(APIView):
    access = rules(get=MEMBER, post=member(Scope.ADMIN))

    @extend_schema(responses=PolicyVersionSerializer, summary="One version as it was written")
    def get(self, request: Request, pk: int) -> Response:
        found = queries.get_or_404(policy_versions_of(actor_in(request)), pk=pk)
        return Response(PolicyVersionSerializer(found).data)

    @extend_schema(
        request=PolicyStateInput, responses={200: PolicyVersionSerializer, 409: ErrorAnswer},
        summary="Dry run, in force, retired",
    )  # fmt: skip
    def post(self, request: Request, pk: int) -> Response:
        actor = actor_in(request)
        found = queries.get_or_404(policy_versions_of(actor), pk=pk)
        check(actor, Action.EDIT_POLICY)
        state = PolicyState(valid(PolicyStateInput(data=request.data))["state"])
        return Response(
            PolicyVersionSerializer(move_policy(actor=actor, version_pk=found.pk, state=state)).data
        )


class PolicySimulateView(APIView):
    access = rules(post=MEMBER)
    parser_classes = (PolicyJson, YamlText)

    @extend_schema(
        request={"application/json": PolicyInput, "application/yaml": OpenApiTypes.STR},
        responses={200: OpenApiTypes.OBJECT, 422: ErrorAnswer},
        summary="Which pending and approved revisions would flip, and why",
    )
    def post(self, request: Request) -> Response:
        source = valid(PolicyInput(data=request.data))["source"]
        return Response(simulate(actor=actor_in(request), source=source).as_dict())


class WaiverListView(APIView):
    access = rules(get=MEMBER, post=member(Scope.REVIEW))

    @extend_schema(responses=WaiverSerializer(many=True), summary="Waivers of my team, newest first")
    def get(self, request: Request) -> Response:
        return paged(request, waivers_of(actor_in(request)).order_by("-pk"), WaiverSerializer)

    @extend_schema(
        request=RuleWaiverInput, responses={201: WaiverSerializer, 403: ErrorAnswer, 422: ErrorAnswer},
        summary="Waive one rule for one revision, for a time",
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        actor = actor_in(request)
        check(actor, Action.WAIVE)
        data = valid(RuleWaiverInput(data=request.data))
        revision = queries.get_or_404(
            queries.revisions_of(actor),
            model__model_id=data.pop("model_id"),
            commit_sha=data.pop("commit_sha"),
        )
        return Response(
            WaiverSerializer(grant_waiver(actor=actor, revision=revision, **data)).data, status=201
        )


class WaiverView(APIView):
    access = rules(get=MEMBER, delete=member(Scope.REVIEW))

    @extend_schema(responses=WaiverSerializer, summary="One waiver")
    def get(self, request: Request, pk: int) -> Response:
        return Response(WaiverSerializer(queries.get_or_404(waivers_of(actor_in(request)), pk=pk)).data)

    @extend_schema(
        request=None, responses=WaiverSerializer, summary="End a waiver before its date; the record stays"
    )
    def delete(self, request: Request, pk: int) -> Response:
        actor = actor_in(request)
        found = queries.get_or_404(waivers_of(actor), pk=pk)
        end_waiver(actor=actor, waiver=found)
        return Response(WaiverSerializer(waivers_of(actor).get(pk=pk)).data)
