"""Channels: the one door through which production changes. A rollback is a move with another name."""

from __future__ import annotations

import re

from django.db import transaction
from django.utils import timezone

from registry import audit, policies
from registry.actors import Actor
from registry.enums import MoveKind
from registry.exceptions import InvalidInput
from registry.models import Approval, Channel, ChannelMove, RegisteredModel
from registry.permissions import Action, check
from registry.words import gettext

NAME = re.compile(r"[a-z][a-z0-9-]{0,38}")


def check_reason(reason: str) -> str:
    """Raises InvalidInput when nobody would understand later why this was done."""
    text = reason.strip()
    if len(text) < 5:
        raise InvalidInput(
            gettext("Say why in a few words; the history shows it for good."), code="reason_missing"
        )
    if len(text) > 2000:
        raise InvalidInput(gettext("A reason has at most 2,000 characters."), code="reason_too_long")
    return text


def check_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise InvalidInput(
            gettext(
                "A channel name has lower-case letters, digits and '-', for example production or staging."
            ),
            code="bad_channel_name",
        )
    return name


@transaction.atomic
def move_channel(
    *,
    actor: Actor,
    model: RegisteredModel,
    name: str,
    approval: Approval,
    reason: str,
    kind: MoveKind = MoveKind.MOVE,
) -> ChannelMove:
    """Points a channel at an approved revision.

    1. role, 2. lock the channel, 3. the approval must be active, fit the channel and not be live already, 4. write the
    move and the pointer, 5. audit. Raises NotAllowed, InvalidInput, Conflict.
    """
    check(actor, Action.ROLL_BACK_CHANNEL if kind == MoveKind.ROLLBACK else Action.MOVE_CHANNEL)
    text, name = check_reason(reason), check_name(name)
    Channel.objects.get_or_create(model=model, name=name)
    channel = Channel.objects.select_for_update().get(model=model, name=name)
    locked = Approval.objects.select_for_update().select_related("revision", "model").get(pk=approval.pk)
    policies.check_channel_target(channel, locked)
    last = channel.moves.order_by("-number").first()
    move = ChannelMove.objects.create(
        channel=channel,
        number=last.number + 1 if last else 1,
        kind=kind,
        from_approval_id=channel.current_id,
        to_approval=locked,
        reason=text,
        at=timezone.now(),
        by=actor.user,
    )
    channel.current = locked
    channel.save(update_fields=["current"])
    audit.record(
        actor=actor,
        verb="channel.rolled_back" if kind == MoveKind.ROLLBACK else "channel.moved",
        subject=channel,
        model_id=model.model_id,
        channel=name,
        sha=locked.revision.commit_sha,
        manifest_sha256=locked.manifest_sha256,
        approval=locked.pk,
        before=move.from_approval_id,
        move=move.pk,
        number=move.number,
        reason=text,
    )
    return move


def roll_back_channel(
    *, actor: Actor, channel: Channel, reason: str, to: Approval | None = None
) -> ChannelMove:
    """Back to `to`, or to what was live before the current one. Raises Conflict when there is nothing to go back to."""
    check(actor, Action.ROLL_BACK_CHANNEL)
    target = to or policies.rollback_target(channel)
    return move_channel(
        actor=actor,
        model=channel.model,
        name=channel.name,
        approval=target,
        reason=reason,
        kind=MoveKind.ROLLBACK,
    )
