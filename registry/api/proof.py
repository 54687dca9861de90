"""What proves the record: the state of the audit chains and their checkpoints."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from registry import checkpoints, permissions, verification
from registry.access import MEMBER, rules
from registry.api.views import actor_in


class WitnessAnswer(serializers.Serializer[Any]):
    name = serializers.CharField()
    size = serializers.IntegerField(help_text="Events that this place has seen.")
    problem = serializers.CharField(allow_blank=True)


class ChainAnswer(serializers.Serializer[Any]):
    chain = serializers.CharField()
    ok = serializers.BooleanField()
    problem = serializers.CharField(allow_blank=True)
    length = serializers.IntegerField()
    head = serializers.CharField(help_text="Hash of the last event, hex.")
    checkpoint = serializers.CharField(allow_null=True, help_text="The newest signed checkpoint.")
    witnesses = WitnessAnswer(many=True)


class AuditVerifyAnswer(serializers.Serializer[Any]):
    ok = serializers.BooleanField()
    chains = ChainAnswer(many=True)


class AuditVerifyView(APIView):
    access = rules(get=MEMBER)

    @extend_schema(
        responses=AuditVerifyAnswer, summary="Are the audit chains whole, and do all witnesses agree?"
    )
    def get(self, request: Request) -> Response:
        permissions.check(actor_in(request), permissions.Action.VERIFY_AUDIT)
        chains = [_chain(chain) for chain in checkpoints.CHAINS]
        return Response({"ok": all(chain["ok"] for chain in chains), "chains": chains})


def _chain(chain: str) -> dict[str, Any]:
    found, state = verification.verify_chain(chain), checkpoints.state_of(chain)
    return {
        "chain": chain,
        "ok": found.ok,
        "problem": found.problem or state.problem,
        "length": found.length,
        "head": found.head,
        "checkpoint": state.last.note if state.last else None,
        "witnesses": WitnessAnswer(state.witnesses, many=True).data,
    }
