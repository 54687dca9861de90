"""May this object change now, whoever asks? `check_*` raises Conflict with a sentence; roles are in `permissions.py`."""

from __future__ import annotations

from django.utils import timezone

from registry.enums import ApprovalStatus
from registry.exceptions import Conflict
from registry.models import Approval, Channel
from registry.words import both, gettext, lowered


def check_channel_target(channel: Channel, approval: Approval) -> None:
    """An approval can go live when it is active, not expired, for this model, made for this channel's environment."""
    where = f"{approval.model.model_id}@{approval.revision.short_sha}"
    if approval.model_id != channel.model_id:
        raise Conflict(gettext("%(where)s is another model's approval.", where=where), code="other_model")
    if approval.status != ApprovalStatus.ACTIVE:
        raise Conflict(
            gettext(
                "%(where)s is %(status)s, and only an active approval can go live. Choose another revision, "
                "or submit this one for a new review.",
                where=where,
                status=lowered(ApprovalStatus(approval.status).label),
            ),
            code="not_active",
        )
    if approval.expires_at <= timezone.now():
        raise Conflict(
            gettext("The approval of %(where)s has expired. Submit it for a new review.", where=where),
            code="expired",
        )
    allowed = approval.allowed_environments or [approval.environment]
    if channel.name == "production" and "production" not in allowed:
        raise Conflict(
            gettext(
                "%(where)s was approved for %(allowed)s only. Submit it for production first.",
                where=where,
                allowed=both(allowed),
            ),
            code="wrong_environment",
        )
    if channel.current_id == approval.pk:
        raise Conflict(
            gettext("%(where)s is already live in %(channel)s.", where=where, channel=channel.name),
            code="already_live",
        )


def rollback_target(channel: Channel) -> Approval:
    """What was live before: the newest earlier target that may still go live. Raises Conflict when there is none."""
    now = timezone.now()
    for move in channel.moves.select_related("to_approval__revision", "to_approval__model").order_by(
        "-number"
    ):
        candidate = move.to_approval
        alive = candidate.status == ApprovalStatus.ACTIVE and candidate.expires_at > now
        if alive and candidate.pk != channel.current_id:
            return candidate
    raise Conflict(
        gettext(
            "%(channel)s has no earlier revision that is still approved, so there is nothing to roll "
            "back to. Approve an earlier revision again, then move the channel to it.",
            channel=channel.name,
        ),
        code="nothing_to_roll_back_to",
    )
