"""The registry's API: models, approvals, channels, jobs, audit, tokens, and what inference servers ask for.

A view unpacks, calls one service or query, and packs. Access rules are declared verb by verb (`access`).
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import Any, cast

from django.db.models import Prefetch
from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, PolymorphicProxySerializer, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import BaseSerializer
from rest_framework.views import APIView

from registry import audit, consumption, guesses, history, jobs, lock, permissions, queries, signing
from registry.access import MEMBER, SERVICE, SIGNED_IN, member, rules, signed_in
from registry.actors import Actor
from registry.api import serializers as s
from registry.api.pagination import Pages
from registry.api.rendering import LockNegotiation, LockYAMLRenderer
from registry.enums import SERVED_STATUSES, Scope
from registry.exceptions import InvalidInput, NotConfigured
from registry.gateway import consumers
from registry.hub import check_model_id
from registry.models import ApiToken, Approval, Channel, ChannelMove, RegisteredModel, Revision, ServedReplica
from registry.services import approvals, channels, tokens
from registry.terms import Use


def actor_in(request: Request) -> Actor:
    """The actor that authentication found; the door has made sure that there is one."""
    return cast(Actor, request.auth)


def valid(serializer: BaseSerializer[Any]) -> dict[str, Any]:
    serializer.is_valid(raise_exception=True)
    return cast("dict[str, Any]", serializer.validated_data)


def paged(request: Request, rows: Any, serializer: type[BaseSerializer[Any]]) -> Response:
    pages = Pages()
    page: list[Any] = pages.paginate_queryset(rows, request) or []
    return pages.get_paginated_response(serializer(page, many=True).data)


def id_of(org: str, name: str) -> str:
    return check_model_id(f"{org}/{name}")


class MeView(APIView):
    access = rules(get=SIGNED_IN)

    @extend_schema(responses=s.MeAnswer, summary="Who am I, in which team, with which roles and scopes?")
    def get(self, request: Request) -> Response:
        actor = actor_in(request)
        return Response(
            {
                "user": actor.user.username,
                "team": actor.team.slug if actor.team else None,
                "roles": sorted(actor.roles),
                "scopes": None if actor.scopes is None else sorted(actor.scopes),
            }
        )


class ModelListView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(responses=s.ModelSerializer(many=True), summary="Models of my team")
    def get(self, request: Request) -> Response:
        rows = queries.models_of(actor_in(request)).order_by("model_id")
        search = request.query_params.get("search", "")
        return paged(request, rows.filter(model_id__icontains=search) if search else rows, s.ModelSerializer)


class ModelView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(responses=s.ModelSerializer, summary="One model")
    def get(self, request: Request, org: str, name: str) -> Response:
        return Response(s.ModelSerializer(queries.model_by_id(actor_in(request), id_of(org, name))).data)


APPROVED_PARAMETERS = frozenset({"channel", "commit_sha", "environment", "use_case", "data_class"})


class ApprovedView(APIView):
    """The hot path: which revision may I use?"""

    access = rules(get=MEMBER)

    @extend_schema(
        summary="The approved revision",
        parameters=[
            OpenApiParameter(
                "channel", OpenApiTypes.STR, description="Default: production, else the only approval."
            ),
            OpenApiParameter("commit_sha", OpenApiTypes.STR, description="Ask about one commit."),
            OpenApiParameter(
                "environment", OpenApiTypes.STR, description="Where it will run; 403 if not allowed."
            ),
            OpenApiParameter(
                "use_case", OpenApiTypes.STR, description="The short name of what it will decide."
            ),
            OpenApiParameter("data_class", OpenApiTypes.STR, description="The data that it will see."),
        ],
        responses={200: s.ApprovalAnswer, 403: s.ErrorAnswer, 404: s.ErrorAnswer, 409: s.ErrorAnswer},
    )
    def get(self, request: Request, org: str, name: str) -> Response:
        given = request.query_params
        unknown = sorted(set(given) - APPROVED_PARAMETERS)
        if unknown:
            raise InvalidInput(
                f"Unknown parameter {unknown[0][:40]!r}. Known: {', '.join(sorted(APPROVED_PARAMETERS))}.",
                code="bad_parameter",
            )
        use = Use(given.get("environment", ""), given.get("use_case", ""), given.get("data_class", ""))
        approval, channel = consumption.approved_for(
            actor_in(request), id_of(org, name), use, given.get("channel", ""), given.get("commit_sha", "")
        )
        return Response(consumption.approval_payload(approval, channel))


class KeysView(APIView):
    access = rules(get=SIGNED_IN)

    @extend_schema(responses=s.KeysAnswer, summary="Public keys that check this registry's signatures")
    def get(self, request: Request) -> Response:
        key = {
            "key_id": signing.key_id(),
            "alg": signing.ALGORITHM,
            "public_key_pem": signing.public_key_pem(),
        }
        keys = [key]
        with suppress(NotConfigured):  # a production without the second key signs no lists of files
            pem = signing.files_public_key_pem()
            files = {
                "key_id": hashlib.sha256(pem.encode("ascii")).hexdigest()[:16],
                "alg": signing.FILES_ALGORITHM,
            }
            keys.append({**files, "public_key_pem": pem})
        return Response({"keys": keys})


class LockView(APIView):
    """`assay.lock.yaml`: YAML unless JSON is asked for; refusals are JSON in the one shape, always."""

    access = rules(get=MEMBER)
    renderer_classes = [LockYAMLRenderer, JSONRenderer]
    content_negotiation_class = LockNegotiation

    @extend_schema(
        summary="A signed lock file for models of my team",
        parameters=[
            OpenApiParameter(
                "model",
                OpenApiTypes.STR,
                many=True,
                required=True,
                description="org/name; repeat it for more.",
            ),
            OpenApiParameter(
                "channel", OpenApiTypes.STR, description="Default: production, else the only approval."
            ),
        ],
        responses={
            200: OpenApiTypes.OBJECT,
            (404, "application/json"): s.ErrorAnswer,
            (409, "application/json"): s.ErrorAnswer,
            (422, "application/json"): s.ErrorAnswer,
        },
    )
    def get(self, request: Request) -> Response:
        asked = request.query_params
        if unknown := sorted(set(asked) - {"model", "channel", "format"}):
            raise InvalidInput(
                f"Unknown parameter {unknown[0][:40]!r}. Known: model, channel, format.", code="bad_parameter"
            )
        if asked.get("format", "yaml") not in ("yaml", "json"):
            raise InvalidInput("format is yaml or json.", code="bad_parameter")
        document = lock.lock_of(actor_in(request), asked.getlist("model"), asked.get("channel", ""))
        disposition = f'attachment; filename="{lock.FILE_NAME}"'
        is_yaml = isinstance(request.accepted_renderer, LockYAMLRenderer)
        return Response(document, headers={"Content-Disposition": disposition} if is_yaml else None)

    def handle_exception(self, exc: Exception) -> Response:
        self.request.accepted_renderer, self.request.accepted_media_type = JSONRenderer(), "application/json"
        return super().handle_exception(exc)


class RevisionListView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(responses=s.RevisionSerializer(many=True), summary="Revisions of a model, newest first")
    def get(self, request: Request, org: str, name: str) -> Response:
        model = queries.model_by_id(actor_in(request), id_of(org, name))
        rows = Revision.objects.filter(model=model).select_related("model").order_by("-pk")
        return paged(request, rows, s.RevisionSerializer)


class RevisionView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(responses=s.RevisionDetailSerializer, summary="One revision with its files and evidence")
    def get(self, request: Request, org: str, name: str, commit_sha: str) -> Response:
        rows = queries.revisions_of(actor_in(request)).prefetch_related("files__blob", "evidence")
        revision = queries.get_or_404(rows, model__model_id=id_of(org, name), commit_sha=commit_sha)
        return Response(s.RevisionDetailSerializer(revision).data)


class ConsumersView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(
        responses=s.ConsumerSerializer(many=True), summary="Who has downloaded a revision, latest first"
    )
    def get(self, request: Request, org: str, name: str, commit_sha: str) -> Response:
        rows = queries.revisions_of(actor_in(request))
        revision = queries.get_or_404(rows, model__model_id=id_of(org, name), commit_sha=commit_sha)
        return paged(request, consumers.consumers_of(revision, most=1000), s.ConsumerSerializer)


def _approval(actor: Actor, model: RegisteredModel, commit_sha: str) -> Approval:
    """The newest approval of a commit, whatever its state (the policy says why a bad one cannot go live)."""
    found = (
        Approval.objects.filter(model=model, revision__commit_sha=commit_sha)
        .select_related("model", "revision")
        .order_by("-approved_at")
        .first()
    )
    if found is None:
        # The same sentence that consumers read: unknown, or known and not approved.
        consumption.approved(actor, model.model_id, commit_sha=commit_sha)
        raise AssertionError("an approval appeared between two queries")
    return found


class ChannelListView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(responses=s.ChannelSerializer(many=True), summary="Channels of a model and what is live")
    def get(self, request: Request, org: str, name: str) -> Response:
        model = queries.model_by_id(actor_in(request), id_of(org, name))
        rows = Channel.objects.filter(model=model).select_related("current__revision").order_by("name")
        return Response(s.ChannelSerializer(rows, many=True).data)


def _channel(actor: Actor, model: RegisteredModel, channel: str) -> Channel:
    moves = ChannelMove.objects.select_related("to_approval__revision", "from_approval__revision", "by")
    rows = queries.channels_of(actor).prefetch_related(Prefetch("moves", moves))
    return queries.get_or_404(rows, model=model, name=channel)


class ChannelView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(
        parameters=[
            OpenApiParameter(
                "at", OpenApiTypes.STR, description="What was live then? 2026-03-31 (its end) or a time, UTC."
            )
        ],
        responses=PolymorphicProxySerializer(
            "ChannelNowOrThen",
            [s.ChannelDetailSerializer, s.ChannelThenAnswer],
            resource_type_field_name=None,
        ),
        summary="One channel with its history; with `at`: what was live then, who approved it, on which evidence",
    )
    def get(self, request: Request, org: str, name: str, channel: str) -> Response:
        actor = actor_in(request)
        model = queries.model_by_id(actor, id_of(org, name))
        if "at" in request.query_params:
            at = history.parse_moment(request.query_params["at"])
            row = queries.get_or_404(queries.channels_of(actor), model=model, name=channel)
            return Response(history.as_json(row, history.channel_at(row, at)))
        return Response(s.ChannelDetailSerializer(_channel(actor, model, channel)).data)


class ChannelMovesView(APIView):
    access = rules(post=member(Scope.RELEASE))

    @extend_schema(
        request=s.MoveInput, responses={201: s.MoveSerializer}, summary="Move a channel to an approved commit"
    )
    def post(self, request: Request, org: str, name: str, channel: str) -> Response:
        actor = actor_in(request)
        model = queries.model_by_id(actor, id_of(org, name))
        permissions.check(actor, permissions.Action.MOVE_CHANNEL)
        data = valid(s.MoveInput(data=request.data))
        move = channels.move_channel(
            actor=actor,
            model=model,
            name=channel,
            approval=_approval(actor, model, data["commit_sha"]),
            reason=data["reason"],
        )
        return Response(s.MoveSerializer(move).data, status=201)


class ChannelRollbackView(APIView):
    access = rules(post=member(Scope.RELEASE))

    @extend_schema(request=s.RollbackInput, responses={201: s.MoveSerializer}, summary="Roll a channel back")
    def post(self, request: Request, org: str, name: str, channel: str) -> Response:
        actor = actor_in(request)
        model = queries.model_by_id(actor, id_of(org, name))
        permissions.check(actor, permissions.Action.ROLL_BACK_CHANNEL)
        data = valid(s.RollbackInput(data=request.data))
        to = _approval(actor, model, data["commit_sha"]) if data.get("commit_sha") else None
        row = queries.get_or_404(queries.channels_of(actor), model=model, name=channel)
        move = channels.roll_back_channel(actor=actor, channel=row, reason=data["reason"], to=to)
        return Response(s.MoveSerializer(move).data, status=201)


class ApprovalActionView(APIView):
    access = rules(post=member(Scope.RELEASE, Scope.ADMIN))

    @extend_schema(
        request=s.ReasonInput,
        responses=s.ApprovalChangedSerializer,
        summary="Suspend, resume, deprecate, retire or revoke",
    )
    def post(self, request: Request, pk: int, action: str) -> Response:
        actor = actor_in(request)
        approval = queries.get_or_404(queries.approvals_of(actor), pk=pk)
        approvals.check_change(actor, action)
        data = valid(s.ReasonInput(data=request.data))
        changed = approvals.change_approval(
            actor=actor, approval=approval, action=action, reason=data["reason"]
        )
        lost = changed.status not in SERVED_STATUSES
        affected = consumers.consumers_of(changed.revision) if lost else []
        return Response(
            {**s.ApprovalSerializer(changed).data, "affected": s.ConsumerSerializer(affected, many=True).data}
        )


class JobListView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(responses=s.JobSerializer(many=True), summary="Runs of my team, newest first")
    def get(self, request: Request) -> Response:
        return paged(request, queries.jobs_of(actor_in(request)).order_by("-pk"), s.JobSerializer)


class JobView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(responses=s.JobSerializer, summary="One run")
    def get(self, request: Request, pk: int) -> Response:
        return Response(s.JobSerializer(queries.get_or_404(queries.jobs_of(actor_in(request)), pk=pk)).data)


class JobCancelView(APIView):
    access = rules(post=member(Scope.SUBMIT))

    @extend_schema(request=None, responses=s.JobSerializer, summary="Cancel a run")
    def post(self, request: Request, pk: int) -> Response:
        actor = actor_in(request)
        job = queries.get_or_404(queries.jobs_of(actor), pk=pk)
        return Response(s.JobSerializer(jobs.cancel(actor=actor, job=job)).data)


class AuditView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(responses=s.EventSerializer(many=True), summary="What happened in my team, newest first")
    def get(self, request: Request) -> Response:
        rows = queries.events_of(actor_in(request))
        verb = request.query_params.get("verb", "")
        pages = Pages()
        page = pages.paginate_queryset(rows.filter(verb=verb) if verb else rows, request)
        return pages.get_paginated_response(s.EventSerializer(audit.shown(page or []), many=True).data)


class TokenListView(APIView):
    access = rules(get=SIGNED_IN, post=signed_in(Scope.ADMIN))

    @extend_schema(responses=s.TokenSerializer(many=True), summary="My tokens (never their secrets)")
    def get(self, request: Request) -> Response:
        rows = ApiToken.objects.filter(user=actor_in(request).user).order_by("-pk")
        return paged(request, rows, s.TokenSerializer)

    @extend_schema(
        request=s.TokenInput, responses={201: s.NewTokenAnswer}, summary="Create a token; shown once"
    )
    def post(self, request: Request) -> Response:
        data = valid(s.TokenInput(data=request.data))
        token, secret = tokens.create_token(actor=actor_in(request), **data)
        return Response({**s.TokenSerializer(token).data, "token": secret}, status=201)


class TokenView(APIView):
    access = rules(delete=signed_in(Scope.ADMIN))

    @extend_schema(responses={204: None}, summary="Revoke one of my tokens")
    def delete(self, request: Request, pk: int) -> Response:
        tokens.revoke_token(actor=actor_in(request), token_pk=pk)
        return Response(status=204)


class IntrospectView(APIView):
    access = rules(post=SERVICE)

    @extend_schema(
        request=s.IntrospectInput, responses=s.IntrospectAnswer, summary="Is this token good, and for what?"
    )
    def post(self, request: Request) -> Response:
        text = valid(s.IntrospectInput(data=request.data))["token"]
        actor = tokens.actor_of_token(text)
        if actor is None:
            guesses.note_introspected(text)
        if actor is None or actor.team is None:
            return Response(
                {"active": False, "reason": "The token is unknown, expired, revoked, or its owner has left."}
            )
        return Response(
            {
                "active": True,
                "token_id": actor.token_id,
                "team": actor.team.slug,
                "user": actor.user.username,
                "scopes": sorted(actor.scopes or ()),
            }
        )


class ServingManifestView(APIView):
    access = rules(get=SERVICE)

    @extend_schema(responses=OpenApiTypes.OBJECT, summary="What inference servers shall serve (ETag, 304)")
    def get(self, request: Request) -> Response:
        manifest = consumption.serving_manifest()
        etag = f'"{manifest["generation"]}"'
        if request.headers.get("If-None-Match") == etag:
            return Response(status=304, headers={"ETag": etag})
        return Response(manifest, headers={"ETag": etag})


class ServingReportView(APIView):
    access = rules(post=SERVICE)

    @extend_schema(request=s.ReportInput, responses={204: None}, summary="What a replica serves now")
    def post(self, request: Request) -> Response:
        data = valid(s.ReportInput(data=request.data))
        now = timezone.now()
        wanted = {(row["team"], row["model_id"]) for row in data["models"]}
        known = {
            (model.team.slug, model.model_id): model
            for model in RegisteredModel.objects.filter(model_id__in=[m for _, m in wanted]).select_related(
                "team"
            )
        }
        kept = []
        for row in data["models"]:
            model = known.get((row["team"], row["model_id"]))
            if model is None:
                continue
            report, _ = ServedReplica.objects.update_or_create(
                replica=data["replica"],
                model=model,
                channel=row["channel"],
                defaults={
                    "commit_sha": row["commit_sha"],
                    "state": row["state"],
                    "error": row.get("error") or "",
                    "since": row.get("since"),
                    "reported_at": now,
                },
            )
            kept.append(report.pk)
        ServedReplica.objects.filter(replica=data["replica"]).exclude(pk__in=kept).delete()
        return Response(status=204)
