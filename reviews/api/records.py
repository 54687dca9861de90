"""Votes and decision records as the API shows and takes them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from reviews import records
from reviews.enums import DataClass, Environment
from reviews.tiers import CHOICES


class Seat(serializers.Serializer[Any]):
    needs = serializers.CharField(help_text="Whose vote it is, in words.")
    reviewer = serializers.CharField(allow_null=True, help_text="Who cast it; null while it is missing.")


class VotesSummary(serializers.Serializer[Any]):
    """How far the decision is: `given` of `needed` votes, and who must look again."""

    tier = serializers.ChoiceField(choices=CHOICES)
    tier_reason = serializers.CharField(
        help_text="Why: what was asked for, and what the record allows besides."
    )
    needed = serializers.IntegerField()
    given = serializers.IntegerField()
    seats = Seat(many=True)
    stale = serializers.ListField(child=serializers.CharField())
    legal_asked = serializers.BooleanField()
    legal_reason = serializers.CharField()


class UseCase(serializers.Serializer[Any]):
    slug = serializers.CharField(max_length=60)
    text = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")


class Threshold(serializers.Serializer[Any]):
    metric = serializers.CharField(max_length=60)
    op = serializers.ChoiceField(choices=records.OPERATORS)
    threshold = serializers.FloatField()


class RecordInput(serializers.Serializer[Any]):
    """The decision record; fields that are left out stay as they are."""

    allowed_environments = serializers.ListField(
        child=serializers.ChoiceField(choices=Environment.choices), required=False
    )
    use_cases = UseCase(many=True, required=False)
    data_classes = serializers.ListField(
        child=serializers.ChoiceField(choices=DataClass.choices), required=False
    )
    expires_at = serializers.CharField(max_length=40, required=False, help_text="A day, 2027-01-31.")
    review_by = serializers.CharField(max_length=40, required=False, allow_null=True, allow_blank=True)
    monitoring = Threshold(many=True, required=False)
    rollback_approval = serializers.IntegerField(required=False, allow_null=True)
    rollback_target = serializers.CharField(max_length=300, required=False, allow_blank=True)
    fallback = serializers.CharField(max_length=2000, required=False, allow_blank=True)
    data_policy = serializers.CharField(max_length=4000, required=False, allow_blank=True)
    owner = serializers.CharField(max_length=120, required=False)
    conditions = serializers.CharField(max_length=4000, required=False, allow_blank=True)


class RecordAnswer(RecordInput):
    """The decision record as it stands."""
