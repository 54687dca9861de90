"""The API of threads on a review and of checklist templates. The same services as the pages."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry import queries
from registry.access import MEMBER, member, rules
from registry.api.serializers import ErrorAnswer
from registry.api.views import actor_in, paged, valid
from registry.enums import Scope
from registry.permissions import Action, check
from reviews import permissions
from reviews.api.views import (
    CommentInput,
    CommentSerializer,
    TemplateVersionInput,
    TemplateVersionSerializer,
)
from reviews.checklists import templates
from reviews.checklists.template import diff, parse
from reviews.queries import requests_of
from reviews.services import commenting


class ReviewCommentsView(APIView):
    access = rules(get=MEMBER, post=member(Scope.SUBMIT))

    @extend_schema(responses=CommentSerializer(many=True), summary="Comments on a review, oldest first")
    def get(self, request: Request, pk: int) -> Response:
        review = queries.get_or_404(requests_of(actor_in(request)), pk=pk)
        return paged(request, review.comments.select_related("by").order_by("pk"), CommentSerializer)

    @extend_schema(
        request=CommentInput,
        responses={201: CommentSerializer, 409: ErrorAnswer},
        summary="Comment, answer, settle",
    )
    def post(self, request: Request, pk: int) -> Response:
        actor = actor_in(request)
        review = queries.get_or_404(requests_of(actor), pk=pk)
        permissions.check_comment(actor, review)
        data = valid(CommentInput(data=request.data))
        if settle := data.get("settle"):
            made = commenting.settle_thread(
                actor=actor,
                request_pk=review.pk,
                thread_pk=data.get("thread", 0),
                resolved=settle == "resolve",
            )
        else:
            made = commenting.add_comment(
                actor=actor, request_pk=review.pk, text=data["text"], key=data["key"], thread_pk=data.get("thread"),
                change=data["change"],
            )  # fmt: skip
        return Response(CommentSerializer(made).data, status=201)


class TemplatesView(APIView):
    access = rules(get=MEMBER, post=member(Scope.ADMIN))

    @extend_schema(
        responses=TemplateVersionSerializer(many=True),
        summary="Versions of checklist templates, newest first",
    )
    def get(self, request: Request) -> Response:
        return paged(request, templates.versions_of(actor_in(request).in_team), TemplateVersionSerializer)

    @extend_schema(
        request=TemplateVersionInput,
        responses={201: TemplateVersionSerializer, 200: OpenApiTypes.OBJECT, 422: ErrorAnswer},
        summary="Add a version for my team, or see what it would change",
    )
    def post(self, request: Request) -> Response:
        actor = actor_in(request)
        check(actor, Action.MANAGE_TEMPLATES)
        data = valid(TemplateVersionInput(data=request.data))
        if data["dry_run"]:
            current = templates.shown_version(actor.in_team)
            return Response(
                {"against": current.label, "changes": diff(current.items, parse(data["yaml"]).items)}
            )
        made = templates.add_version(actor=actor, source=data["yaml"], note=data["note"])
        return Response(TemplateVersionSerializer(made).data, status=201)


class TemplateView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(responses=OpenApiTypes.OBJECT, summary="One version with its items and its YAML")
    def get(self, request: Request, pk: int) -> Response:
        version = queries.get_or_404(templates.versions_of(actor_in(request).in_team), pk=pk)
        shown = TemplateVersionSerializer(version).data
        return Response({**shown, "items": version.items, "yaml": version.source})
