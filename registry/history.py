"""What was live then, who answers for it, and on which evidence: read from rows and events that nobody can change.

The pointer comes from the channel's moves, the state of the approval from the audit log: `Approval.status` knows only today.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from django.utils import timezone

from registry.enums import SERVED_STATUSES, ApprovalStatus, Status
from registry.enums import STATUSES as SHOWN
from registry.exceptions import InvalidInput
from registry.models import Approval, AuditEvent, Channel, ChannelMove, Evidence, User
from registry.words import gettext, ngettext

# What each event leaves an approval as.
AFTER: dict[str, ApprovalStatus] = {
    "approval.granted": ApprovalStatus.ACTIVE,
    "approval.suspended": ApprovalStatus.SUSPENDED,
    "approval.resumed": ApprovalStatus.ACTIVE,
    "approval.revoked": ApprovalStatus.REVOKED,
    "approval.deprecated": ApprovalStatus.DEPRECATED,
    "approval.retired": ApprovalStatus.RETIRED,
    "approval.expired": ApprovalStatus.EXPIRED,
}


@dataclass(frozen=True)
class StateThen:
    """`by` is empty when Assay itself moved it (expiry)."""

    status: ApprovalStatus
    since: datetime
    by: str = ""
    reason: str = ""

    @property
    def served(self) -> bool:
        return self.status in SERVED_STATUSES

    @property
    def shown(self) -> Status:
        return SHOWN[self.status]


@dataclass(frozen=True)
class Then:
    """What a channel pointed at, at one moment; `move` is None when it had never been moved."""

    at: datetime
    move: ChannelMove | None = None
    until: datetime | None = None
    state: StateThen | None = None
    evidence: tuple[Evidence, ...] = ()

    @property
    def approval(self) -> Approval | None:
        return self.move.to_approval if self.move else None

    @property
    def served(self) -> bool:
        return self.state is not None and self.state.served


def parse_moment(text: str) -> datetime:
    """An ISO date (its end, UTC) or date and time (UTC unless it says otherwise). Raises InvalidInput."""
    typed = text.strip()
    try:
        if len(typed) == 10:
            found = datetime.combine(date.fromisoformat(typed), time.max, UTC)
            # Today's end has not come yet; what is asked is how it stands by now.
            found = min(found, timezone.now()) if found.date() == timezone.now().date() else found
        else:
            found = datetime.fromisoformat(typed.replace(" ", "+") if "T" in typed else typed)
            found = found if found.tzinfo else found.replace(tzinfo=UTC)
        found = found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(
            gettext("Write a moment as 2026-03-31 or 2026-03-31T14:00:00Z."), code="bad_moment", field="at"
        ) from error
    if found > timezone.now():
        raise InvalidInput(
            gettext("That moment has not come yet. Choose one in the past."), code="bad_moment", field="at"
        )
    return found


def channel_at(channel: Channel, at: datetime) -> Then:
    """What `channel` pointed at, and whether it was served then."""
    moves = channel.moves.select_related(
        "by", "to_approval__revision__model", "to_approval__approved_by", "to_approval__submitted_by"
    )
    move = moves.filter(at__lte=at).order_by("-number").first()
    if move is None:
        return Then(at)
    following = moves.filter(number__gt=move.number).order_by("number").first()
    return Then(
        at=at,
        move=move,
        until=following.at if following else None,
        state=state_at(move.to_approval, at),
        evidence=tuple(Evidence.objects.filter(pk__in=move.to_approval.evidence_ids).order_by("pk")),
    )


def state_at(approval: Approval, at: datetime) -> StateThen:
    """The approval's state at a moment, by its events; past its date it had expired, whether a sweep had noted it or not."""
    events = AuditEvent.objects.filter(
        object_type="approval", object_id=approval.pk, verb__in=list(AFTER), at__lte=at
    )
    last = events.order_by("-seq").first()
    found = StateThen(ApprovalStatus.ACTIVE, approval.approved_at, approval.approved_by.display_name)
    if last is not None:
        by = User.objects.filter(pk=last.actor_id).first() if last.actor_id else None
        reason = str(json.loads(last.body)["data"].get("reason", ""))
        found = StateThen(AFTER[last.verb], last.at, by.display_name if by else "", reason)
    if found.served and approval.expires_at <= at:
        return StateThen(ApprovalStatus.EXPIRED, approval.expires_at)
    return found


def sentence_of(channel: Channel, then: Then) -> str:
    """The answer in words, for the page and for people who read JSON."""
    when = f"{then.at:%Y-%m-%d %H:%M} UTC"
    if then.move is None or then.state is None or then.approval is None:
        return gettext(
            "At %(when)s nothing was live in %(channel)s of %(model_id)s.",
            when=when,
            channel=channel.name,
            model_id=channel.model.model_id,
        )
    approval, sha = then.approval, then.approval.revision.short_sha
    decided = gettext(
        "approved by %(approved_by)s on %(approved_at)s",
        approved_by=approval.approved_by.display_name,
        approved_at=f"{approval.approved_at:%Y-%m-%d}",
    )
    runs = ngettext("%(n)s run", "%(n)s runs", len(then.evidence))
    if then.served:
        return gettext(
            "At %(when)s %(channel)s served %(sha)s, %(decided)s on the evidence of %(runs)s, moved "
            "there by %(by)s.",
            when=when,
            channel=channel.name,
            sha=sha,
            decided=decided,
            runs=runs,
            by=then.move.by.display_name,
        )
    by = gettext(" by %(by)s", by=then.state.by) if then.state.by else ""
    return gettext(
        "At %(when)s %(channel)s pointed at %(sha)s, and nobody was served: its approval was "
        "%(status)s%(by)s on %(since)s UTC. It had been %(decided)s.",
        when=when,
        channel=channel.name,
        sha=sha,
        status=then.state.status,
        by=by,
        since=f"{then.state.since:%Y-%m-%d %H:%M}",
        decided=decided,
    )


def as_json(channel: Channel, then: Then) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model_id": channel.model.model_id,
        "channel": channel.name,
        "at": then.at.isoformat(),
        "sentence": sentence_of(channel, then),
        "served": then.served,
        "commit_sha": None,
        "move": None,
        "approval": None,
        "evidence": [],
    }
    move, approval, state = then.move, then.approval, then.state
    if move is None or approval is None or state is None:
        return found
    return found | {
        "commit_sha": approval.revision.commit_sha,
        "move": {
            "number": move.number,
            "kind": str(move.kind),
            "by": move.by.username,
            "since": move.at.isoformat(),
            "until": then.until.isoformat() if then.until else None,
            "reason": move.reason,
        },
        "approval": {
            "id": approval.pk,
            "status": str(state.status),
            "status_since": state.since.isoformat(),
            "status_by": state.by,
            "status_reason": state.reason,
            "environment": approval.environment,
            "conditions": approval.conditions,
            "manifest_sha256": approval.manifest_sha256,
            "content_sha256": approval.content_sha256,
            "policy_version": approval.policy_version,
            "submitted_by": approval.submitted_by.username,
            "approved_by": approval.approved_by.username,
            "approved_at": approval.approved_at.isoformat(),
            "expires_at": approval.expires_at.isoformat(),
        },
        "evidence": [
            {"id": row.pk, "kind": str(row.kind), "summary": row.summary, "sha256": row.sha256,
             "created_at": row.created_at.isoformat()}
            for row in then.evidence
        ],
    }  # fmt: skip
