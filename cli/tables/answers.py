"""The answers of reviews: the log keeps a digest of each as it was written, and which were carried over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cli.chain import Told
from cli.ledgers import Ledger
from cli.tables.common import Problem, json_digest, parsed

KINDS = ("reviewrequest",)
TABLE = "reviews_answer"
Standing = dict[tuple[int, str], tuple[str, Told]]


def problems(ledger: Ledger, told: list[Told]) -> Iterator[Problem]:
    """Raises CannotCheck when the table cannot be read."""
    standing = _standing(told)
    rows = ledger.query(
        f"SELECT id, request_id, key, verdict, CAST(value AS TEXT), text, version, by_id FROM {TABLE} ORDER BY id"
    )
    for pk, request, key, verdict, value, text, version, by in rows:
        what = f"The answer to {key} of review {request}"
        digest, event = standing.pop((request, key), ("", None))
        if event is None:
            yield "record-without-event", TABLE, pk, f"{what} has no event in the log."
        elif digest != json_digest([verdict, parsed(value), text, version, by]):
            yield "record-differs", TABLE, pk, f"{what} is not what event {event.seq} ({event.verb}) says."
    for (request, key), (_, event) in sorted(standing.items()):
        what = f"The answer to {key} of review {request}, of event {event.seq},"
        yield "event-without-record", TABLE, request, f"{what} is not there any more."


def _standing(told: list[Told]) -> Standing:
    """What stands after all events. A review that opens again works out anew what is carried over."""
    found: Standing = {}
    for event in told:
        if event.object_type not in KINDS or event.object_id is None:
            continue
        if event.verb == "review.in_review":
            for place, (_, wrote) in list(found.items()):
                if place[0] == event.object_id and wrote.verb == "review.carried_over":
                    del found[place]
        written: Any = event.data.get("answers")
        if isinstance(written, dict):
            found |= {(event.object_id, str(key)): (str(digest), event) for key, digest in written.items()}
    return found
