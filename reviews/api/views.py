"""The reviews' API: look up, submit, answer, decide. The same services as the pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry import checkpoints, queries
from registry.access import MEMBER, member, rules
from registry.actors import Actor
from registry.api.serializers import ErrorAnswer
from registry.api.views import actor_in, paged, valid
from registry.enums import Scope
from registry.permissions import Action, check
from reviews import checklists, permissions, records, votes
from reviews.api.records import RecordAnswer, RecordInput, VotesSummary
from reviews.enums import DataClass, Decision, Environment, Verdict
from reviews.models import Answer, ChecklistTemplateVersion, ReviewComment, ReviewRequest, Vote
from reviews.queries import requests_of
from reviews.services import deciding, recording, submissions
from reviews.services.answering import save_answers


class AnswerSerializer(serializers.ModelSerializer[Answer]):
    by = serializers.CharField(source="by.username")

    class Meta:
        model = Answer
        fields = [
            "key",
            "verdict",
            "value",
            "text",
            "suggestion",
            "suggestion_state",
            "version",
            "carried_from",
            "by",
            "at",
        ]


class VoteSerializer(serializers.ModelSerializer[Vote]):
    reviewer = serializers.CharField(source="reviewer.username")

    class Meta:
        model = Vote
        fields = ["round", "reviewer", "roles", "decision", "reason", "content_sha256", "at"]


class ReviewSerializer(serializers.ModelSerializer[ReviewRequest]):
    model_id = serializers.CharField(source="model.model_id")
    commit_sha = serializers.CharField(source="revision.commit_sha", default=None)
    submitted_by = serializers.CharField(source="submitted_by.username")
    decision_by = serializers.CharField(source="decision_by.username", default=None)

    class Meta:
        model = ReviewRequest
        fields = [
            "id", "model_id", "requested_revision", "commit_sha", "use_case", "environment", "data_class", "owner",
            "status", "problem", "round", "intake_job", "submitted_by", "submitted_at", "decision", "decision_at",
            "decision_by", "decision_reason", "conditions", "approval", "tier", "votes_needed",
        ]  # fmt: skip


class ReceiptAnswer(serializers.Serializer[Any]):
    """Where an approval stands in the audit log: keep it, and you are a witness of the log."""

    seq = serializers.IntegerField()
    hash = serializers.CharField()
    checkpoint = serializers.CharField(
        allow_null=True, help_text="The first signed checkpoint that covers the event."
    )


class ReviewDetailSerializer(ReviewSerializer):
    answers = AnswerSerializer(many=True)
    votes = VoteSerializer(many=True)
    votes_summary = serializers.SerializerMethodField()
    record = serializers.SerializerMethodField()
    follows = serializers.IntegerField(source="follows_id")
    content_sha256 = serializers.SerializerMethodField()
    receipt = serializers.SerializerMethodField()

    class Meta(ReviewSerializer.Meta):
        fields = [
            *ReviewSerializer.Meta.fields, "checklist", "answers", "votes", "votes_summary", "record", "follows", "delta",
            "content_sha256", "receipt",
        ]  # fmt: skip

    @extend_schema_field(VotesSummary)
    def get_votes_summary(self, request: ReviewRequest) -> dict[str, Any]:
        return votes.data_of(request)

    @extend_schema_field(RecordAnswer)
    def get_record(self, request: ReviewRequest) -> dict[str, Any]:
        return records.record_of(request)

    def get_content_sha256(self, request: ReviewRequest) -> str:
        return deciding.content_sha256(request)

    @extend_schema_field(ReceiptAnswer(allow_null=True))
    def get_receipt(self, request: ReviewRequest) -> dict[str, Any] | None:
        return checkpoints.receipt_of(request.approval) if request.approval else None


class SubmissionInput(serializers.Serializer[Any]):
    model_id = serializers.CharField(max_length=400, help_text="org/name, or the model's address on the Hub.")
    revision = serializers.CharField(max_length=200, default="main", allow_blank=True)
    use_case = serializers.CharField(max_length=4000)
    environment = serializers.ChoiceField(choices=Environment.choices)
    data_class = serializers.ChoiceField(choices=DataClass.choices)
    owner = serializers.CharField(max_length=120, required=False, allow_blank=True, default="")


class AnswerInput(serializers.Serializer[Any]):
    """Either an answer, or `accept` with the digest of the suggestion that was read."""

    verdict = serializers.ChoiceField(choices=Verdict.choices, required=False)
    value = serializers.JSONField(
        required=False, allow_null=True, help_text="By the item's type; null for text."
    )
    text = serializers.CharField(max_length=4000, required=False, allow_blank=True)
    version = serializers.IntegerField(
        required=False,
        min_value=0,
        help_text="The version that was seen, 0 for none; 409 when it is another one now.",
    )
    accept = serializers.CharField(
        max_length=64, required=False, help_text="sha256 of the suggestion to accept."
    )


class AnswersInput(serializers.Serializer[Any]):
    answers = serializers.DictField(child=AnswerInput(), allow_empty=False)


class DecisionInput(serializers.Serializer[Any]):
    decision = serializers.ChoiceField(choices=Decision.choices)
    reason = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")
    conditions = serializers.CharField(max_length=4000, required=False, allow_blank=True, default="")
    content_sha256 = serializers.CharField(
        max_length=64,
        required=False,
        default="",
        help_text="What was seen; refused with 409 when it changed since.",
    )

    record = RecordInput(required=False, default=dict, help_text="Written before the vote is cast.")


class ChangesInput(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")
    changes = serializers.DictField(
        child=serializers.CharField(max_length=4000),
        required=False,
        default=dict,
        help_text="{item: what to change}",
    )


class CommentSerializer(serializers.ModelSerializer[ReviewComment]):
    by = serializers.CharField(source="by.username")

    class Meta:
        model = ReviewComment
        fields = ["id", "thread", "key", "kind", "text", "round", "by", "at"]


class CommentInput(serializers.Serializer[Any]):
    """A comment, an answer in a thread, or (with `settle`) the end or the reopening of one."""

    text = serializers.CharField(max_length=4000, required=False, allow_blank=True, default="")
    key = serializers.CharField(max_length=60, required=False, allow_blank=True, default="")
    thread = serializers.IntegerField(required=False, min_value=1)
    change = serializers.BooleanField(required=False, default=False)
    settle = serializers.ChoiceField(choices=["resolve", "reopen"], required=False)


class TemplateVersionSerializer(serializers.ModelSerializer[ChecklistTemplateVersion]):
    version = serializers.CharField(source="label")
    by = serializers.CharField(source="by.username", default=None)

    class Meta:
        model = ChecklistTemplateVersion
        fields = ["id", "version", "number", "name", "sha256", "note", "by", "at"]


class TemplateVersionInput(serializers.Serializer[Any]):
    yaml = serializers.CharField(max_length=60_000, trim_whitespace=False, help_text="The template as YAML.")
    note = serializers.CharField(max_length=500, required=False, allow_blank=True, default="")
    dry_run = serializers.BooleanField(required=False, default=False, help_text="Only say what would change.")


class ResubmitInput(serializers.Serializer[Any]):
    use_case = serializers.CharField(max_length=4000, required=False, default="", allow_blank=True)
    revision = serializers.CharField(max_length=200, required=False, default="", allow_blank=True)


class LookupView(APIView):
    access = rules(get=member(Scope.SUBMIT))

    @extend_schema(
        parameters=[
            OpenApiParameter("model_id", OpenApiTypes.STR),
            OpenApiParameter("revision", OpenApiTypes.STR),
        ],
        responses={200: OpenApiTypes.OBJECT, 422: ErrorAnswer, 424: ErrorAnswer},
        summary="What the Hub says of a model, before it is submitted",
    )
    def get(self, request: Request) -> Response:
        found = submissions.look_up(
            actor=actor_in(request),
            model_id=request.query_params.get("model_id", ""),
            revision=request.query_params.get("revision", ""),
        )
        return Response(
            {
                "model_id": found.model_id,
                "commit_sha": found.commit_sha,
                "read_as": found.read_as,
                "pipeline_tag": found.pipeline_tag,
                "license": found.license,
                "size": found.total_size,
                "files": len(found.files),
                "blockers": found.blockers,
                "warnings": found.warnings,
            }
        )


class ReviewListView(APIView):
    access = rules(get=MEMBER, post=member(Scope.SUBMIT))

    @extend_schema(responses=ReviewSerializer(many=True), summary="Review requests of my team, newest first")
    def get(self, request: Request) -> Response:
        return paged(request, requests_of(actor_in(request)).order_by("-pk"), ReviewSerializer)

    @extend_schema(
        request=SubmissionInput, responses={201: ReviewSerializer}, summary="Submit a model for review"
    )
    def post(self, request: Request) -> Response:
        actor = actor_in(request)
        check(actor, Action.SUBMIT_MODEL)
        submission = submissions.check_submission(**valid(SubmissionInput(data=request.data)))
        created = submissions.submit_model(actor=actor, submission=submission)
        return Response(ReviewSerializer(requests_of(actor).get(pk=created.pk)).data, status=201)


def _detail(actor: Actor, pk: int) -> Response:
    rows = requests_of(actor).prefetch_related("answers__by", "votes__reviewer")
    return Response(ReviewDetailSerializer(queries.get_or_404(rows, pk=pk)).data)


def _known(actor: Actor, pk: int, check_person: Callable[[Actor, ReviewRequest], None]) -> int:
    """The id, if it is one of the team's and this person may. Raises NotFound, NotAllowed, Conflict.

    Asked before the body is read (nobody learns the shape of a door that is closed to them), and again by the service,
    which holds the lock.
    """
    found = queries.get_or_404(requests_of(actor), pk=pk)
    check_person(actor, found)
    return found.pk


class ReviewView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(responses=ReviewDetailSerializer, summary="One review request with answers and votes")
    def get(self, request: Request, pk: int) -> Response:
        return _detail(actor_in(request), pk)


class ReviewAnswersView(APIView):
    access = rules(put=member(Scope.REVIEW))

    @extend_schema(
        request=AnswersInput, responses=ReviewDetailSerializer, summary="Write answers to checklist items"
    )
    def put(self, request: Request, pk: int) -> Response:
        actor = actor_in(request)
        known = _known(actor, pk, permissions.check_answer)
        answers = valid(AnswersInput(data=request.data))["answers"]
        save_answers(actor=actor, request_pk=known, answers=answers)
        return _detail(actor, pk)


class ReviewSuggestionsView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(responses=OpenApiTypes.OBJECT, summary="Prefilled answers by item, each with its sources")
    def get(self, request: Request, pk: int) -> Response:
        review = queries.get_or_404(requests_of(actor_in(request)), pk=pk)
        return Response(
            {key: offered.as_dict() for key, offered in checklists.suggestions_for(review).items()}
        )


class ReviewDecisionView(APIView):
    access = rules(post=member(Scope.REVIEW))

    @extend_schema(
        request=DecisionInput,
        responses={200: ReviewDetailSerializer, 403: ErrorAnswer, 409: ErrorAnswer},
        summary="Cast a vote; the last one that is needed decides",
    )
    def post(self, request: Request, pk: int) -> Response:
        actor = actor_in(request)
        known = _known(actor, pk, permissions.check_decide)
        data = valid(DecisionInput(data=request.data))
        deciding.decide(
            actor=actor,
            request_pk=known,
            decision=data["decision"],
            reason=data["reason"],
            conditions=data["conditions"],
            seen_sha256=data["content_sha256"],
            record=data["record"],
        )
        return _detail(actor, pk)


class ReviewRecordView(APIView):
    access = rules(put=member(Scope.REVIEW))

    @extend_schema(
        request=RecordInput,
        responses={200: ReviewDetailSerializer, 409: ErrorAnswer, 422: ErrorAnswer},
        summary="Write the decision record: where, for what, until when, how it is watched",
    )
    def put(self, request: Request, pk: int) -> Response:
        actor = actor_in(request)
        known = _known(actor, pk, permissions.check_answer)
        record = valid(RecordInput(data=request.data))
        recording.save_record(actor=actor, request_pk=known, record=record)
        return _detail(actor, pk)


class ReviewChangesView(APIView):
    access = rules(post=member(Scope.REVIEW))

    @extend_schema(
        request=ChangesInput, responses=ReviewDetailSerializer, summary="Send it back with what is to change"
    )
    def post(self, request: Request, pk: int) -> Response:
        actor = actor_in(request)
        known = _known(actor, pk, permissions.check_decide)
        data = valid(ChangesInput(data=request.data))
        deciding.request_changes(
            actor=actor, request_pk=known, reason=data["reason"], changes=data["changes"]
        )
        return _detail(actor, pk)


class ReviewWithdrawView(APIView):
    access = rules(post=member(Scope.SUBMIT))

    @extend_schema(request=None, responses=ReviewDetailSerializer, summary="Take a submission back")
    def post(self, request: Request, pk: int) -> Response:
        actor = actor_in(request)
        submissions.withdraw(actor=actor, request_pk=_known(actor, pk, permissions.check_withdraw))
        return _detail(actor, pk)


class ReviewResubmitView(APIView):
    access = rules(post=member(Scope.SUBMIT))

    @extend_schema(
        request=ResubmitInput, responses=ReviewDetailSerializer, summary="Submit again after changes"
    )
    def post(self, request: Request, pk: int) -> Response:
        actor = actor_in(request)
        known = _known(actor, pk, permissions.check_resubmit)
        data = valid(ResubmitInput(data=request.data))
        submissions.resubmit(actor=actor, request_pk=known, **data)
        return _detail(actor, pk)
