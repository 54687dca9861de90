"""The tables against the log: every approval, channel move, role and token has its event, and every event its row.

A chain can be whole and still not tell everything: a row that somebody wrote past it, or took away, shows only here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cli.chain import Told
from cli.findings import Finding
from cli.ledgers import Ledger, moment

WANTED = ("approval", "channel", "membership", "apitoken")
# What each event of an approval leaves it as.
STATUS_AFTER = {
    "approval.granted": "active",
    "approval.suspended": "suspended",
    "approval.resumed": "active",
    "approval.revoked": "revoked",
    "approval.deprecated": "deprecated",
    "approval.retired": "retired",
    "approval.expired": "expired",
}


def compare(ledger: Ledger, told: list[Told]) -> list[Finding]:
    """Raises CannotCheck when a table cannot be read."""
    found: list[Finding] = []
    for check in (_approvals, _moves, _roles, _tokens):
        for rule, table, pk, sentence in check(ledger, told):
            found.append(Finding(rule, sentence, f"{ledger.name}:{table}", pk))
    return found


Problem = tuple[str, str, int, str]


def _by_object(told: list[Told], kind: str) -> dict[int, list[Told]]:
    events: dict[int, list[Told]] = {}
    for event in told:
        if event.object_type == kind and event.object_id is not None:
            events.setdefault(event.object_id, []).append(event)
    return events


def _missing(rule: str, table: str, pk: int, what: str) -> Problem:
    said = "has no event in the log" if rule == "record-without-event" else "is not there any more"
    return rule, table, pk, f"{what} {said}."


def _differs(table: str, pk: int, what: str, column: str, event: Told) -> Problem:
    return (
        "record-differs",
        table,
        pk,
        f"{what}: its {column} is not what event {event.seq} ({event.verb}) says.",
    )


def _approvals(ledger: Ledger, told: list[Told]) -> Iterator[Problem]:
    table, events = "registry_approval", _by_object(told, "approval")
    rows = ledger.query(
        "SELECT a.id, a.status, a.environment, a.manifest_sha256, a.content_sha256, a.approved_by_id, a.expires_at, "
        f"r.commit_sha FROM {table} a JOIN registry_revision r ON r.id = a.revision_id ORDER BY a.id"
    )
    for pk, status, environment, manifest, content, by, expires, commit in rows:
        history, what = events.pop(pk, []), f"Approval {pk}"
        granted = next((event for event in history if event.verb == "approval.granted"), None)
        if granted is None:
            yield _missing("record-without-event", table, pk, what)
            continue
        said = granted.data
        pairs = {
            "environment": (environment, said.get("environment")),
            "commit": (commit, said.get("sha")),
            "manifest digest": (manifest, said.get("manifest_sha256")),
            "content digest": (content, said.get("content_sha256")),
            "approver": (by, granted.actor),
            "end": (moment(expires), moment(said.get("expires_at"))),
        }
        for column, (is_now, was) in pairs.items():
            if is_now != was:
                yield _differs(table, pk, what, column, granted)
        moves = [event for event in history if event.verb in STATUS_AFTER]
        if status != STATUS_AFTER[moves[-1].verb]:
            yield _differs(table, pk, what, f"status “{status}”", moves[-1])
    for pk in sorted(events):
        yield _missing("event-without-record", table, pk, f"Approval {pk}, of event {events[pk][0].seq},")


def _moves(ledger: Ledger, told: list[Told]) -> Iterator[Problem]:
    table = "registry_channelmove"
    events = {
        pk: [e for e in found if e.verb.startswith("channel.")]
        for pk, found in _by_object(told, "channel").items()
    }
    rows = ledger.query(
        f"SELECT id, channel_id, number, to_approval_id, by_id FROM {table} ORDER BY channel_id, number"
    )
    live: dict[int, int] = {}
    for pk, channel, number, approval, by in rows:
        what, left = f"Move {number} of channel {channel}", events.get(channel, [])
        live[channel] = approval
        if not left:
            yield _missing("record-without-event", table, pk, what)
            continue
        event = left.pop(0)
        if event.data.get("approval") != approval:
            yield _differs(table, pk, what, "approval", event)
        if event.actor != by:
            yield _differs(table, pk, what, "person", event)
    for channel, left in sorted(events.items()):
        for event in left:
            yield _missing(
                "event-without-record", table, channel, f"A move of channel {channel}, of event {event.seq},"
            )
    for channel, current in ledger.query("SELECT id, current_id FROM registry_channel ORDER BY id"):
        if current != live.get(channel):
            sentence = (
                f"Channel {channel} points at approval {current}, and its last move at {live.get(channel)}."
            )
            yield "record-differs", "registry_channel", channel, sentence


def _roles(ledger: Ledger, told: list[Told]) -> Iterator[Problem]:
    table, granted = "registry_membership", {}
    for pk, history in _by_object(told, "membership").items():
        last = history[-1]
        if last.verb == "membership.granted":
            granted[pk] = last
    for pk, user, team, role in ledger.query(f"SELECT id, user_id, team_id, role FROM {table} ORDER BY id"):
        what, event = f"The role {role} of user {user} in team {team}", granted.pop(pk, None)
        if event is None:
            yield _missing("record-without-event", table, pk, what)
        elif str(event.data.get("role", "")).lower().replace(" ", "_") != role:
            yield _differs(table, pk, what, "role", event)
        elif event.data.get("user", user) != user:
            yield _differs(table, pk, what, "person", event)
    for pk, event in sorted(granted.items()):
        yield _missing(
            "event-without-record", table, pk, f"The role {event.data.get('role')} of event {event.seq}"
        )


def _tokens(ledger: Ledger, told: list[Told]) -> Iterator[Problem]:
    table, events = "registry_apitoken", _by_object(told, "apitoken")
    rows = ledger.query(
        f"SELECT id, public_id, user_id, scopes, expires_at, revoked_at FROM {table} ORDER BY id"
    )
    for pk, public_id, user, scopes, expires, revoked in rows:
        what, history = f"Token {public_id}", events.pop(pk, [])
        created = next((event for event in history if event.verb == "token.created"), None)
        if created is None:
            yield _missing("record-without-event", table, pk, what)
            continue
        said = created.data
        scoped = [event for event in history if event.verb == "token.scopes_changed"] or [created]
        scopes = json.loads(scopes) if isinstance(scopes, str) else scopes
        pairs: dict[str, tuple[Any, Any]] = {
            "public id": (public_id, said.get("public_id")),
            "owner": (user, said.get("owner")),
            "scopes": (scopes, scoped[-1].data.get("scopes")),
            "end": (moment(expires), moment(said.get("expires_at"))),
            "revocation": (revoked is not None, any(e.verb == "token.revoked" for e in history)),
        }
        for column, (is_now, was) in pairs.items():
            if is_now != was:
                yield _differs(table, pk, what, column, scoped[-1] if column == "scopes" else created)
    for pk in sorted(events):
        yield _missing(
            "event-without-record",
            table,
            pk,
            f"Token {events[pk][0].data.get('name')!r} of event {events[pk][0].seq}",
        )
