"""The audit log: append, read as sentences, verify. No audit, no act.

`record` is called last in the business transaction, so a failing append rolls the act back. `record_access` writes
refusals and sign-ins to a second chain in a transaction of its own. Scheme: docs/adr/0003-audit-chain.md.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import models, transaction
from django.utils import timezone

from registry import checkpoints
from registry.actors import Actor
from registry.canonical import canonical_json
from registry.context import request_id
from registry.models import AccessEvent, AuditEvent, AuditHead, Team, User
from registry.models.audit import ChainedEvent

GENESIS = b"\0" * 32
_DOMAIN = b"audit-v1\0"

# verb -> sentence. {actor} and the keys of the event's data fill it in. Every verb that is recorded stands here.
SENTENCES: dict[str, str] = {
    "approval.granted": "{actor} approved {model_id}@{sha} for {environment}",
    "approval.attested": "The approval of {model_id}@{sha} was signed with the key {key_id}",
    "approval.suspended": "{actor} suspended the approval of {model_id}@{sha}: {reason}",
    "approval.resumed": "{actor} resumed the approval of {model_id}@{sha}: {reason}",
    "approval.revoked": "{actor} revoked the approval of {model_id}@{sha}: {reason}",
    "approval.deprecated": "{actor} deprecated {model_id}@{sha}: {reason}",
    "approval.retired": "{actor} retired {model_id}@{sha}: {reason}",
    "approval.ends_soon": "The approval of {model_id}@{sha} ends in {days} days, on {day}",
    "approval.review_due": "{model_id}@{sha} is to be looked at again in {days} days, on {day}",
    "approval.expired": "The approval of {model_id}@{sha} expired",
    "channel.moved": "{actor} moved {channel} of {model_id} to {sha}: {reason}",
    "channel.rolled_back": "{actor} rolled {channel} of {model_id} back to {sha}: {reason}",
    "code.judged": "{actor} audited {path} of {model_id}@{sha}: {verdict}{reason}",
    "code.inherited": "{files} code files of {model_id}@{sha} keep the verdict that was given on the same bytes before",
    "code.moved": "The code audit of {model_id}@{sha} is {state} now",
    "code.waived": "{actor} waived the code audit of {model_id}@{sha} until {until}: {reason}",
    "code.waiver_ended": "The waiver of the code audit of {model_id}@{sha} ended: {reason}",
    "evidence.published": "{kind} of {model_id}@{sha} finished: {summary}",
    "golden_set.created": "{actor} added the golden set {name} ({examples} examples)",
    "integrity.failed": "A stored file of {model_id}@{sha} is damaged and is not served: {path} ({found})",
    "integrity.restored": "A damaged file of {model_id}@{sha} is whole again: {path}",
    "job.cancelled": "{actor} cancelled {title}",
    "job.failed": "{title} failed: {error}",
    "job.requested": "{actor} asked for {title}",
    "policy.dry_run": "{actor} put version {number} of the policy {policy} on a dry run",
    "policy.in_force": "{actor} put version {number} of the policy {policy} in force",
    "policy.retired": "{actor} retired version {number} of the policy {policy}",
    "policy.saved": "{actor} wrote version {number} of the policy {policy}",
    "review.answered": "{actor} answered {items} of the review of {model_id}@{sha}",
    "review.approved": "{actor} approved the review of {model_id}@{sha}",
    "review.commented": "{actor} commented on {item} of the review of {model_id}@{sha}",
    "review.thread_resolved": "{actor} resolved a thread on {item} of the review of {model_id}@{sha}",
    "review.thread_reopened": "{actor} reopened a thread on {item} of the review of {model_id}@{sha}",
    "review.carried_over": "{carried} answers about {model_id}@{before} were carried over to {model_id}@{sha}, {asked} items "
    "are asked again; changed: {changed}",
    "review.changes_requested": "{actor} asked for changes to {model_id}@{sha}: {reason}",
    "review.checks_failed": "The checks of {model_id} at {requested_revision} could not be completed: {reason}",
    "review.checks_started": "The checks of {model_id} at {requested_revision} started",
    "review.in_review": "{model_id}@{sha} is ready for review",
    "review.legal_asked": "{actor} asked legal about {model_id}@{sha}: {reason}",
    "review.record_changed": "{actor} wrote the decision record of {model_id}@{sha}: {fields}",
    "review.rejected": "{actor} rejected {model_id}@{sha}: {reason}",
    "review.resubmitted": "{actor} submitted {model_id} at {requested_revision} again",
    "review.submitted": "{actor} submitted {model_id} at {requested_revision}",
    "review.superseded": "The review of {model_id}@{sha} was superseded by {newer}",
    "review.voted": "{actor} voted for {model_id}@{sha}: {votes}",
    "review.withdrawn": "{actor} withdrew the submission of {model_id}",
    "revision.recorded": "Intake recorded {model_id}@{sha}: {files} files, {megabytes} MB",
    "template.version_added": "{actor} added {name}, a version of the checklist template ({changes} changes)",
    "record.exported": "{actor} exported {model_id}@{sha}: {what}",
    "table.exported": "{actor} exported the table of {what}",
    "team.created": "{actor} created the team {name}",
    "membership.granted": "{actor} made {member} {role}",
    "membership.removed": "{actor} removed {member} as {role}",
    "token.created": "{actor} created the token {name}",
    "token.revoked": "{actor} revoked the token {name}",
    "token.scopes_changed": "An upgrade gave the token {name} the scopes {scopes}",
    "user.password_changed": "{actor} changed their own password",
    "user.changed": "{actor} changed the account {member}",
    "waiver.ended": "{actor} ended the waiver of {rule} for {model_id}@{sha}",
    "waiver.expired": "The waiver of {rule} for {model_id}@{sha} expired",
    "waiver.granted": "{actor} waived {rule} for {model_id}@{sha} until {until}: {reason}",
    # second chain
    "access.denied": "{actor} was refused: {action}",
    "access.denied_often": "{actor} was refused more than {refusals} times in five minutes; further refusals were not kept",
    "access.tokens_refused": "Unknown tokens from an address were refused for a while, after {failures} of them",
    "access.secret_guessed": "Somebody sent {failures} wrong secrets for the token {public_id}; more are refused for a while",
    "access.limits_often": "More than {events} limits were reached in five minutes; further ones were not kept",
    "session.signed_in": "{actor} signed in",
    "session.password_refused": "{actor} gave a wrong current password {failures} times; none is tried for a while",
    "session.sign_in_failed": "A sign-in failed",
    "session.locked_out": "Sign-ins from an address were refused for a while, after too many failures",
    "session.signed_out": "{actor} signed out",
}


def link_hash(seq: int, prev: bytes, at: datetime, body: str) -> bytes:
    """The hash of one link; `at` to the microsecond, UTC."""
    delta = at.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    at_us = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    body_digest = hashlib.sha256(body.encode("utf-8")).digest()
    payload = _DOMAIN + seq.to_bytes(8, "big") + prev + at_us.to_bytes(8, "big", signed=True) + body_digest
    return hashlib.sha256(payload).digest()


def _append(
    table: type[AuditEvent] | type[AccessEvent],
    *,
    actor: Actor | None,
    team: Team | None,
    verb: str,
    subject: models.Model | None,
    data: dict[str, Any],
) -> ChainedEvent:
    if verb not in SENTENCES:
        raise ValueError(f"the audit verb {verb!r} has no sentence in registry/audit.py")
    AuditHead.objects.select_for_update().get_or_create(chain=table._meta.model_name)
    last = table.objects.order_by("-seq").first()
    seq = last.seq + 1 if last else 1
    prev = bytes(last.hash) if last else GENESIS
    at = timezone.now()
    object_type = subject._meta.model_name or "" if subject else ""
    body = canonical_json(
        {
            "actor": actor.user.pk if actor else None,
            "auth": actor.auth_method if actor else "system",
            "token": actor.token_id if actor else "",
            "request": request_id(),
            "team": team.pk if team else None,
            "verb": verb,
            "object": [object_type, subject.pk] if subject else None,
            "data": data,
        }
    )
    created = table.objects.create(
        seq=seq,
        at=at,
        body=body,
        prev=prev,
        hash=link_hash(seq, prev, at, body),
        verb=verb,
        actor_id=actor.user.pk if actor else None,
        team_id=team.pk if team else None,
        object_type=object_type,
        object_id=subject.pk if subject else None,
    )
    checkpoints.after(table, seq, verb)
    return created


def record(
    *, actor: Actor | None, verb: str, subject: models.Model | None, team: Team | None = None, **data: Any
) -> ChainedEvent:
    """Appends what was done. `actor=None` is the system itself. Must run inside the transaction of the act.

    Raises RuntimeError outside a transaction: an act and its record must stand or fall together.
    """
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("audit.record must run inside the transaction of the act it records")
    return _append(
        AuditEvent,
        actor=actor,
        team=team or (actor.team if actor else None),
        verb=verb,
        subject=subject,
        data=data,
    )


def record_access(*, actor: Actor | None, verb: str, **data: Any) -> None:
    """Appends a refusal or a sign-in, in a transaction of its own (after the refused one has rolled back)."""
    with transaction.atomic():
        _append(
            AccessEvent, actor=actor, team=actor.team if actor else None, verb=verb, subject=None, data=data
        )


@dataclass(frozen=True)
class ShownEvent:
    """An event as a person reads it."""

    chain: str
    seq: int
    at: datetime
    actor: str
    verb: str
    sentence: str
    detail_json: str
    object_type: str
    object_id: int | None


class _Blank(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def shown(events: list[Any]) -> list[ShownEvent]:
    """Sentences of events; the names of people are looked up in one query."""
    names = {
        user.pk: user.display_name
        for user in User.objects.filter(pk__in={e.actor_id for e in events if e.actor_id})
    }
    result = []
    for event in events:
        body = json.loads(event.body)
        actor = names.get(event.actor_id, "Assay") if event.actor_id else "Assay"
        data = _Blank({**body["data"], "actor": actor})
        if isinstance(data.get("sha"), str):
            data["sha"] = data["sha"][:7]
        result.append(
            ShownEvent(
                chain=str(event._meta.verbose_name),
                seq=event.seq,
                at=event.at,
                actor=actor,
                verb=event.verb,
                sentence=SENTENCES.get(event.verb, event.verb).format_map(data),
                detail_json=json.dumps(body, indent=2, ensure_ascii=False, sort_keys=True),
                object_type=event.object_type,
                object_id=event.object_id,
            )
        )
    return result


@dataclass(frozen=True)
class Verification:
    """`ok`, the number of links, the head's hash (hex), and the first problem in words."""

    ok: bool
    length: int
    head: str
    problem: str = ""


def verify(table: type[AuditEvent] | type[AccessEvent] = AuditEvent) -> Verification:
    """Walks the chain from the first link. Sees a changed, inserted, removed or reordered row (not a cut tail)."""
    prev, seq = GENESIS, 0
    for event in table.objects.order_by("seq").iterator(chunk_size=2000):
        seq += 1
        problem = _problem(event, seq, prev)
        if problem:
            return Verification(False, seq, prev.hex(), problem)
        prev = bytes(event.hash)
    return Verification(True, seq, prev.hex())


def _problem(event: ChainedEvent, seq: int, prev: bytes) -> str:
    if event.seq != seq:
        return f"Event {seq} is missing: the next one found is {event.seq}."
    if bytes(event.prev) != prev:
        return f"Event {seq} does not follow event {seq - 1}: it was changed, moved or replaced."
    if bytes(event.hash) != link_hash(seq, prev, event.at, event.body):
        return f"Event {seq} was changed after it was written."
    body = json.loads(event.body)
    columns = [event.verb, event.actor_id, event.team_id, [event.object_type, event.object_id]]
    if columns != [body["verb"], body["actor"], body["team"], body["object"] or ["", None]]:
        return f"The columns of event {seq} say something else than its body."
    return ""
