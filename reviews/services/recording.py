"""Writing the decision record, and making a request ready to be voted on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.db import transaction

from registry import audit
from registry.actors import Actor
from reviews import machines, permissions, records, votes
from reviews.models import ReviewRequest
from reviews.services.digests import refresh
from reviews.tiers import TIERS


def open_for_votes(request: ReviewRequest) -> None:
    """Risk tier, seats, record and digest as they are when the review opens. `request` is locked and has its revision."""
    assert request.revision is not None
    if not request.legal_asked:
        request.legal_reason = votes.legal_reason(request.revision)
        request.legal_asked = bool(request.legal_reason)
    for name, value in records.prefill(request).items():
        if not getattr(request, name):  # a later round keeps what was written in an earlier one
            setattr(request, name, value)
    _follow_risk(request, request.tier)
    refresh(request)
    request.save()


def _follow_risk(request: ReviewRequest, before: str, written: Collection[str] = ()) -> list[str]:
    """Sets tier and votes; where the tier is higher than `before`, brings dates forward that were not written just now.
    Returns the names of those."""
    moved = []
    if TIERS.index(request.risk.tier) > TIERS.index(before):
        for name, value in records.shortened(request).items():
            if name not in written:
                setattr(request, name, value)
                moved.append(name)
    votes.set_seats(request)
    return moved


def risk_named(request: ReviewRequest) -> dict[str, Any]:
    """What the log keeps of it, whenever it may have become another."""
    return {
        "tier": request.tier, "votes_needed": request.votes_needed, "legal_asked": request.legal_asked,
    }  # fmt: skip


def apply_record(actor: Actor, request: ReviewRequest, given: Mapping[str, Any]) -> list[str]:
    """Writes the fields that differ, with their event; returns their names. `request` is locked.

    A record that allows more than before can raise the risk tier: then more votes are needed, and dates that the same change
    does not set are brought forward to what the tier gives.
    """
    checked, before = records.check_record(request, given), request.risk.tier
    changed = [name for name, value in checked.items() if getattr(request, name) != value]
    if not changed:
        return []
    for name in changed:
        setattr(request, name, checked[name])
    changed += _follow_risk(request, before, changed)
    refresh(request)
    request.save(update_fields=[*changed, "tier", "votes_needed", "content_sha256"])
    audit.record(
        actor=actor,
        verb="review.record_changed",
        subject=request,
        model_id=request.model.model_id,
        sha=request.revision.commit_sha if request.revision else "",
        fields=", ".join(name.replace("_", " ") for name in changed),
        **risk_named(request),
        content_sha256=request.content_sha256,
    )
    return changed


@transaction.atomic
def save_record(*, actor: Actor, request_pk: int, record: Mapping[str, Any]) -> ReviewRequest:
    """Writes given fields of the decision record; votes cast before become stale.

    Raises NotAllowed, Conflict (not in review), InvalidInput with the field.
    """
    request = machines.lock(request_pk)
    permissions.check_answer(actor, request)
    apply_record(actor, request, record)
    return request
