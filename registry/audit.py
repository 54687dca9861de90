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
from django.utils.translation import gettext_noop as _

from registry import checkpoints
from registry.actors import Actor
from registry.canonical import canonical_json
from registry.context import request_id
from registry.models import AccessEvent, AuditEvent, AuditHead, Team, User
from registry.models.audit import ChainedEvent
from registry.stored_words import retold
from registry.words import english, gettext

GENESIS = b"\0" * 32
_DOMAIN = b"audit-v1\0"

# verb -> sentence. {actor}, {member} (whom the data names as `user`) and the keys of the event's data fill it in. Every verb
# that is recorded stands here. People are in the log by their ids: names are looked up when it is read.
SENTENCES: dict[str, str] = {
    "approval.granted": _("{actor} approved {model_id}@{sha} for {environment}"),
    "approval.attested": _("The approval of {model_id}@{sha} was signed with the key {key_id}"),
    "approval.suspended": _("{actor} suspended the approval of {model_id}@{sha}: {reason}"),
    "approval.resumed": _("{actor} resumed the approval of {model_id}@{sha}: {reason}"),
    "approval.revoked": _("{actor} revoked the approval of {model_id}@{sha}: {reason}"),
    "approval.deprecated": _("{actor} deprecated {model_id}@{sha}: {reason}"),
    "approval.retired": _("{actor} retired {model_id}@{sha}: {reason}"),
    "approval.ends_soon": _("The approval of {model_id}@{sha} ends in {days} days, on {day}"),
    "approval.review_due": _("{model_id}@{sha} is to be looked at again in {days} days, on {day}"),
    "approval.expired": _("The approval of {model_id}@{sha} expired"),
    "channel.moved": _("{actor} moved {channel} of {model_id} to {sha}: {reason}"),
    "channel.rolled_back": _("{actor} rolled {channel} of {model_id} back to {sha}: {reason}"),
    "code.judged": _("{actor} audited {path} of {model_id}@{sha}: {verdict}{reason}"),
    "code.inherited": _(
        "{files} code files of {model_id}@{sha} keep the verdict that was given on the same bytes before"
    ),
    "code.moved": _("The code audit of {model_id}@{sha} is {state} now"),
    "code.waived": _("{actor} waived the code audit of {model_id}@{sha} until {until}: {reason}"),
    "code.waiver_ended": _("The waiver of the code audit of {model_id}@{sha} ended: {reason}"),
    "evidence.published": _("{kind} of {model_id}@{sha} finished: {summary}"),
    "golden_set.created": _("{actor} added the golden set {name} ({examples} examples)"),
    "integrity.failed": _("A stored file of {model_id}@{sha} is damaged and is not served: {path} ({found})"),
    "integrity.restored": _("A damaged file of {model_id}@{sha} is whole again: {path}"),
    "job.cancelled": _("{actor} cancelled {title}"),
    "job.failed": _("{title} failed: {error}"),
    "job.requested": _("{actor} asked for {title}"),
    "policy.dry_run": _("{actor} put version {number} of the policy {policy} on a dry run"),
    "policy.in_force": _("{actor} put version {number} of the policy {policy} in force"),
    "policy.retired": _("{actor} retired version {number} of the policy {policy}"),
    "policy.saved": _("{actor} wrote version {number} of the policy {policy}"),
    "review.answered": _("{actor} answered {items} of the review of {model_id}@{sha}"),
    "review.approved": _("{actor} approved the review of {model_id}@{sha}"),
    "review.commented": _("{actor} commented on {item} of the review of {model_id}@{sha}"),
    "review.thread_resolved": _("{actor} resolved a thread on {item} of the review of {model_id}@{sha}"),
    "review.thread_reopened": _("{actor} reopened a thread on {item} of the review of {model_id}@{sha}"),
    "review.carried_over": _(
        "{carried} answers about {model_id}@{before} were carried over to {model_id}@{sha}, {asked} items "
        "are asked again; changed: {changed}"
    ),
    "review.changes_requested": _("{actor} asked for changes to {model_id}@{sha}: {reason}"),
    "review.checks_failed": _(
        "The checks of {model_id} at {requested_revision} could not be completed: {reason}"
    ),
    "review.checks_started": _("The checks of {model_id} at {requested_revision} started"),
    "review.in_review": _("{model_id}@{sha} is ready for review"),
    "review.legal_asked": _("{actor} asked legal about {model_id}@{sha}: {reason}"),
    "review.record_changed": _("{actor} wrote the decision record of {model_id}@{sha}: {fields}"),
    "review.rejected": _("{actor} rejected {model_id}@{sha}: {reason}"),
    "review.resubmitted": _("{actor} submitted {model_id} at {requested_revision} again"),
    "review.submitted": _("{actor} submitted {model_id} at {requested_revision}"),
    "review.superseded": _("The review of {model_id}@{sha} was superseded by {newer}"),
    "review.voted": _("{actor} voted for {model_id}@{sha}: {votes}"),
    "review.withdrawn": _("{actor} withdrew the submission of {model_id}"),
    "revision.recorded": _("Intake recorded {model_id}@{sha}: {files} files, {megabytes} MB"),
    "template.version_added": _(
        "{actor} added {name}, a version of the checklist template ({changes} changes)"
    ),
    "record.exported": _("{actor} exported {model_id}@{sha}: {what}"),
    "table.exported": _("{actor} exported the table of {what}"),
    "team.created": _("{actor} created the team {name}"),
    "membership.granted": _("{actor} made {member} {role}"),
    "membership.removed": _("{actor} removed {member} as {role}"),
    "token.created": _("{actor} created the token {name}"),
    "token.revoked": _("{actor} revoked the token {name}"),
    "token.scopes_changed": _("An upgrade gave the token {name} the scopes {scopes}"),
    "user.password_changed": _("{actor} changed their own password"),
    "user.changed": _("{actor} changed the account {member}"),
    "waiver.ended": _("{actor} ended the waiver of {rule} for {model_id}@{sha}"),
    "waiver.expired": _("The waiver of {rule} for {model_id}@{sha} expired"),
    "waiver.granted": _("{actor} waived {rule} for {model_id}@{sha} until {until}: {reason}"),
    # second chain
    "access.denied": _("{actor} was refused: {action}"),
    "access.denied_often": _(
        "{actor} was refused more than {refusals} times in five minutes; further refusals were not kept"
    ),
    "access.tokens_refused": _(
        "Unknown tokens from an address were refused for a while, after {failures} of them"
    ),
    "access.secret_guessed": _(
        "Somebody sent {failures} wrong secrets for the token {public_id}; more are refused for a while"
    ),
    "access.limits_often": _(
        "More than {events} limits were reached in five minutes; further ones were not kept"
    ),
    "session.password_refused": _(
        "{actor} gave a wrong current password {failures} times; none is tried for a while"
    ),
    "session.signed_in": _("{actor} signed in"),
    "session.sign_in_failed": _("A sign-in failed"),
    "session.locked_out": _("Sign-ins from an address were refused for a while, after too many failures"),
    "session.signed_out": _("{actor} signed out"),
}


# Data of events that are words of ours, kept in English.
KEPT_WORDS = ("title", "error", "summary", "role", "state", "verdict", "kind", "what")


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
            "data": english(data),
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


def _member(body: dict[str, Any]) -> int:
    """Whom an event is about, besides who acted; 0: nobody."""
    found = body["data"].get("user")
    return found if type(found) is int else 0


def shown(events: list[Any]) -> list[ShownEvent]:
    """Sentences of events; the names of people are looked up in one query."""
    bodies = [json.loads(event.body) for event in events]
    people = {e.actor_id or 0 for e in events} | {_member(body) for body in bodies}
    names = {user.pk: user.display_name for user in User.objects.filter(pk__in=people)}
    result = []
    for event, body in zip(events, bodies, strict=True):
        actor = names.get(event.actor_id, "Assay") if event.actor_id else "Assay"
        data = _Blank({**body["data"], "actor": actor})
        data |= {name: retold(data[name]) for name in KEPT_WORDS if isinstance(data.get(name), str)}
        if member := names.get(_member(body)):
            data["member"] = member
        if isinstance(data.get("sha"), str):
            data["sha"] = data["sha"][:7]
        result.append(
            ShownEvent(
                chain=str(event._meta.verbose_name),
                seq=event.seq,
                at=event.at,
                actor=actor,
                verb=event.verb,
                sentence=gettext(SENTENCES.get(event.verb, event.verb)).format_map(data),
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
        return gettext("Event %(seq)s is missing: the next one found is %(found)s.", seq=seq, found=event.seq)
    if bytes(event.prev) != prev:
        return gettext(
            "Event %(seq)s does not follow event %(before)s: it was changed, moved or replaced.",
            seq=seq,
            before=seq - 1,
        )
    if bytes(event.hash) != link_hash(seq, prev, event.at, event.body):
        return gettext("Event %(seq)s was changed after it was written.", seq=seq)
    body = json.loads(event.body)
    columns = [event.verb, event.actor_id, event.team_id, [event.object_type, event.object_id]]
    if columns != [body["verb"], body["actor"], body["team"], body["object"] or ["", None]]:
        return gettext("The columns of event %(seq)s say something else than its body.", seq=seq)
    return ""
