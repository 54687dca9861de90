"""Shapes of the registry's API. They unpack and pack; every rule is in the services."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from registry.enums import Scope
from registry.models import ApiToken, Approval, Channel, ChannelMove, Evidence, Job, RegisteredModel, Revision


class ErrorBody(serializers.Serializer[Any]):
    code = serializers.CharField()
    message = serializers.CharField()
    details = serializers.JSONField()


class ErrorAnswer(serializers.Serializer[Any]):
    """Every refusal and failure has this shape."""

    error = ErrorBody()


class EvidenceSerializer(serializers.ModelSerializer[Evidence]):
    class Meta:
        model = Evidence
        fields = ["id", "kind", "summary", "data", "manifest_sha256", "sha256", "job", "created_at"]


class RevisionSerializer(serializers.ModelSerializer[Revision]):
    model_id = serializers.CharField(source="model.model_id")
    url = serializers.SerializerMethodField()

    class Meta:
        model = Revision
        fields = [
            "id", "model_id", "commit_sha", "requested_revision", "manifest_sha256", "total_size", "card_sha256",
            "card_data", "label_mapping", "facts", "findings", "pipeline_tag", "library_name", "license", "code_audit",
            "committed_at", "created_at", "url",
        ]  # fmt: skip

    def get_url(self, revision: Revision) -> str:
        return f"/revisions/{revision.pk}/"


class FileSerializer(serializers.Serializer[Any]):
    path = serializers.CharField()
    size = serializers.IntegerField(source="blob.size")
    sha256 = serializers.CharField(source="blob_id")
    git_oid = serializers.CharField()
    is_lfs = serializers.BooleanField()


class RevisionDetailSerializer(RevisionSerializer):
    files = FileSerializer(many=True)
    evidence = EvidenceSerializer(many=True)

    class Meta(RevisionSerializer.Meta):
        fields = [*RevisionSerializer.Meta.fields, "files", "evidence"]


class ModelSerializer(serializers.ModelSerializer[RegisteredModel]):
    class Meta:
        model = RegisteredModel
        fields = ["id", "model_id", "pipeline_tag", "created_at"]


class ApprovalSerializer(serializers.ModelSerializer[Approval]):
    commit_sha = serializers.CharField(source="revision.commit_sha")
    model_id = serializers.CharField(source="model.model_id")

    class Meta:
        model = Approval
        fields = [
            "id", "model_id", "commit_sha", "status", "environment", "use_case", "data_class", "conditions",
            "allowed_environments", "use_cases", "data_classes", "monitoring", "review_by", "fallback", "data_policy",
            "owner", "manifest_sha256", "approved_at", "expires_at", "status_at", "status_reason",
        ]  # fmt: skip


class ConsumerSerializer(serializers.Serializer[Any]):
    """One token's use of a revision."""

    token = serializers.CharField(help_text="The token's public id.")
    token_name = serializers.CharField(allow_blank=True)
    user = serializers.CharField()
    team = serializers.CharField()
    first_seen = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()
    bytes = serializers.IntegerField()
    files = serializers.IntegerField()


class ApprovalChangedSerializer(ApprovalSerializer):
    """`affected`: who has downloaded the revision and loses it now (suspend, revoke, retire), else empty."""

    affected = ConsumerSerializer(many=True)

    class Meta(ApprovalSerializer.Meta):
        fields = [*ApprovalSerializer.Meta.fields, "affected"]


class ApprovalAnswer(serializers.Serializer[Any]):
    """What `approved` answers; see docs/api.md for an example."""

    model_id = serializers.CharField()
    commit_sha = serializers.CharField(help_text="The pinned 40-hex commit.")
    channel = serializers.CharField(allow_null=True)
    manifest_sha256 = serializers.CharField()
    label_mapping = serializers.DictField(child=serializers.CharField())
    task = serializers.CharField()
    max_length = serializers.IntegerField(help_text="Tokens that the server truncates at.")
    license = serializers.CharField()
    trust_remote_code = serializers.BooleanField(help_text="It needs its code, and the code may be run now.")
    code_audit = serializers.DictField(
        help_text="allowed, verdict, digest; waived_until and url where they apply."
    )
    approval = serializers.DictField()
    snippet = serializers.CharField(help_text="Ready to paste into Python.")
    review_url = serializers.CharField()


class KeyAnswer(serializers.Serializer[Any]):
    key_id = serializers.CharField(
        help_text="First 16 hex digits of the SHA-256 of the public key's 32 bytes."
    )
    alg = serializers.CharField()
    public_key_pem = serializers.CharField()


class KeysAnswer(serializers.Serializer[Any]):
    keys = KeyAnswer(many=True)


class MoveSerializer(serializers.ModelSerializer[ChannelMove]):
    commit_sha = serializers.CharField(source="to_approval.revision.commit_sha")
    from_commit_sha = serializers.SerializerMethodField()
    by = serializers.CharField(source="by.username")

    class Meta:
        model = ChannelMove
        fields = ["number", "kind", "from_commit_sha", "commit_sha", "reason", "at", "by"]

    def get_from_commit_sha(self, move: ChannelMove) -> str | None:
        return move.from_approval.revision.commit_sha if move.from_approval else None


class ChannelSerializer(serializers.ModelSerializer[Channel]):
    commit_sha = serializers.SerializerMethodField()

    class Meta:
        model = Channel
        fields = ["id", "name", "commit_sha"]

    def get_commit_sha(self, channel: Channel) -> str | None:
        return channel.current.revision.commit_sha if channel.current else None


class ChannelDetailSerializer(ChannelSerializer):
    moves = MoveSerializer(many=True)

    class Meta(ChannelSerializer.Meta):
        fields = [*ChannelSerializer.Meta.fields, "moves"]


class ChannelThenAnswer(serializers.Serializer[Any]):
    """What a channel pointed at, at one moment of the past."""

    model_id = serializers.CharField()
    channel = serializers.CharField()
    at = serializers.DateTimeField()
    sentence = serializers.CharField()
    served = serializers.BooleanField(help_text="Whether its approval let consumers have it then.")
    commit_sha = serializers.CharField(allow_null=True)
    move = serializers.JSONField(allow_null=True)
    approval = serializers.JSONField(
        allow_null=True, help_text="With its state then, since when, by whom, and why."
    )
    evidence = serializers.ListField(child=serializers.JSONField())


class MoveInput(serializers.Serializer[Any]):
    commit_sha = serializers.RegexField(r"^[0-9a-f]{40}$", help_text="An approved revision's commit.")
    reason = serializers.CharField(max_length=2000)


class RollbackInput(serializers.Serializer[Any]):
    commit_sha = serializers.RegexField(
        r"^[0-9a-f]{40}$", required=False, help_text="Empty: what was live before the current one."
    )
    reason = serializers.CharField(max_length=2000)


class ReasonInput(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2000)


class JobSerializer(serializers.ModelSerializer[Job]):
    requested_by = serializers.CharField(source="requested_by.username")

    class Meta:
        model = Job
        fields = [
            "id", "kind", "title", "state", "attempt", "progress", "error_code", "error", "requested_by", "created_at",
            "started_at", "finished_at",
        ]  # fmt: skip


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    class Meta:
        model = ApiToken
        fields = [
            "id",
            "public_id",
            "name",
            "scopes",
            "created_at",
            "expires_at",
            "revoked_at",
            "last_used_at",
        ]


class TokenInput(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=80)
    scopes = serializers.ListField(child=serializers.ChoiceField(choices=Scope.choices), min_length=1)
    days = serializers.IntegerField(min_value=1, max_value=366, default=90)


class NewTokenAnswer(TokenSerializer):
    token = serializers.CharField(help_text="Shown this once.")

    class Meta(TokenSerializer.Meta):
        fields = [*TokenSerializer.Meta.fields, "token"]


class IntrospectInput(serializers.Serializer[Any]):
    token = serializers.CharField(max_length=200)


class IntrospectAnswer(serializers.Serializer[Any]):
    active = serializers.BooleanField()
    token_id = serializers.CharField(required=False)
    team = serializers.CharField(required=False)
    user = serializers.CharField(required=False)
    scopes = serializers.ListField(child=serializers.CharField(), required=False)
    reason = serializers.CharField(required=False)


class ReportedModel(serializers.Serializer[Any]):
    team = serializers.CharField(max_length=60)
    model_id = serializers.CharField(max_length=200)
    channel = serializers.CharField(max_length=40)
    commit_sha = serializers.RegexField(r"^[0-9a-f]{40}$")
    state = serializers.ChoiceField(choices=["ready", "loading", "failed", "waiting"])
    error = serializers.CharField(max_length=500, allow_null=True, allow_blank=True, required=False)
    since = serializers.DateTimeField(allow_null=True, required=False)


class ReportInput(serializers.Serializer[Any]):
    replica = serializers.CharField(max_length=200)
    generation = serializers.CharField(max_length=64)
    models = ReportedModel(many=True)


class EventSerializer(serializers.Serializer[Any]):
    seq = serializers.IntegerField()
    at = serializers.DateTimeField()
    actor = serializers.CharField()
    verb = serializers.CharField()
    sentence = serializers.CharField()
    object_type = serializers.CharField()
    object_id = serializers.IntegerField(allow_null=True)


class MeAnswer(serializers.Serializer[Any]):
    user = serializers.CharField()
    team = serializers.CharField(allow_null=True)
    roles = serializers.ListField(child=serializers.CharField())
    scopes = serializers.ListField(child=serializers.CharField(), allow_null=True)
