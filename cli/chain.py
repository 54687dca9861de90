"""The audit chain, link by link, from the documented formula alone (docs/audit.md). Nothing of Assay's code is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cli.findings import Finding
from cli.notes import Note

GENESIS = b"\0" * 32
DOMAIN = b"audit-v1\0"
MOST = 50
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Event:
    """One row as stored. `at` is naive or aware UTC; None where the stored value is nothing of that kind."""

    seq: int
    at: datetime | None
    body: str
    prev: bytes
    hash: bytes
    columns: tuple[Any, Any, Any, Any, Any]  # verb, actor_id, team_id, object_type, object_id


@dataclass(frozen=True)
class Told:
    """What an event says: for comparing with the tables."""

    seq: int
    verb: str
    actor: int | None
    team: int | None
    object_type: str
    object_id: int | None
    data: dict[str, Any]


@dataclass
class Walk:
    """A walked chain: how long it is, where it ends, what it tells, and what is wrong with it."""

    length: int = 0
    findings: list[Finding] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)


def link_hash(seq: int, prev: bytes, at: datetime, body: str) -> bytes:
    delta = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC) - _EPOCH
    at_us = (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds
    digest = hashlib.sha256(body.encode("utf-8")).digest()
    return hashlib.sha256(
        DOMAIN + seq.to_bytes(8, "big") + prev + at_us.to_bytes(8, "big", signed=True) + digest
    ).digest()


def walk(name: str, events: Iterable[Event], notes: list[Note], wanted: tuple[str, ...] = ()) -> Walk:
    """Checks every link and every note. `wanted`: the object types whose events are kept in `told`.

    After a finding it goes on from what is stored, so that each damaged place is named once, and not all that follow it.
    """
    result, prev, ends = Walk(), GENESIS, {}
    witnessed = {note.size for note in notes}
    for event in events:
        for rule, sentence in _problems(event, result.length + 1, prev):
            if len(result.findings) < MOST:
                result.findings.append(Finding(rule, sentence, name, event.seq))
        prev, result.length = event.hash, event.seq
        if event.seq in witnessed:
            ends[event.seq] = event.hash
        if event.columns[3] in wanted and (told := _told(event)):
            result.told.append(told)
    result.findings += _against_notes(name, result.length, ends, notes)
    return result


def _problems(event: Event, seq: int, prev: bytes) -> Iterator[tuple[str, str]]:
    if event.seq != seq:
        found = f"the next one found is {event.seq}" if event.seq > seq else f"{event.seq} stands there"
        yield "audit-gap", f"Event {seq} is missing: {found}."
    elif event.prev != prev:
        before = f"event {seq - 1}" if seq > 1 else "the beginning"
        yield (
            "audit-order",
            f"Event {seq} does not follow {before}: one of the two was changed, moved or replaced.",
        )
    if event.at is None or link_hash(event.seq, event.prev, event.at, event.body) != event.hash:
        yield "audit-changed", f"Event {event.seq} was changed after it was written."
    elif (told := _told(event)) is None:
        yield "audit-changed", f"Event {event.seq} does not hold what an event of the log holds."
    elif _said(event.body) != event.columns:
        yield (
            "audit-columns",
            f"The columns of event {event.seq} ({told.verb}) say something else than its body.",
        )


def _said(body: str) -> tuple[Any, ...]:
    said = json.loads(body)
    kind, pk = said["object"] or ["", None]
    return (said["verb"], said["actor"], said["team"], kind, pk)


def _told(event: Event) -> Told | None:
    try:
        said = json.loads(event.body)
        verb, actor, team, kind, pk = _said(event.body)
        return Told(event.seq, str(verb), actor, team, str(kind), pk, dict(said["data"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _against_notes(name: str, length: int, ends: dict[int, bytes], notes: list[Note]) -> list[Finding]:
    """Each place's notes against the chain. Only the first that differs is named: those after it differ, too."""
    findings = []
    for file in sorted({note.file for note in notes}):
        agreed = 0
        for note in sorted((n for n in notes if n.file == file), key=lambda n: n.size):
            if note.size > length:
                sentence = (
                    f"{file} has seen {note.size} events, and there are {length}: events {length + 1} to {note.size} were "
                    "cut off, or an older copy of the database was put in its place."
                )
                findings.append(Finding("audit-cut", sentence, name, length + 1))
                break
            if ends.get(note.size) != note.root:
                sentence = (
                    f"Event {note.size}, or one since event {agreed + 1}, was rewritten: the checkpoint of {note.size} events "
                    f"in {file} knows another end."
                )
                findings.append(Finding("audit-rewritten", sentence, name, note.size))
                break
            agreed = note.size
    return findings
