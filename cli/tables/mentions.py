"""Who was named with @ in a comment: the comment's event lists them, so that nobody is made to seem told, or not told."""

from __future__ import annotations

from collections.abc import Iterator

from cli.chain import Told
from cli.ledgers import Ledger
from cli.tables.common import Problem
from cli.tables.reviews import COMMENTED

TABLE = "reviews_mention"


def problems(ledger: Ledger, told: list[Told]) -> Iterator[Problem]:
    """Raises CannotCheck when the table cannot be read."""
    due = {named: event for event in told for named in _named(event)}
    for pk, comment, person in ledger.query(f"SELECT id, comment_id, user_id FROM {TABLE} ORDER BY id"):
        if due.pop((comment, person), None) is None:
            what = f"The mention of user {person} in comment {comment}"
            yield "record-without-event", TABLE, pk, f"{what} has no event in the log."
    for (comment, person), event in due.items():
        what = f"The mention of user {person} in comment {comment}, of event {event.seq},"
        yield "event-without-record", TABLE, comment, f"{what} is not there any more."


def _named(event: Told) -> Iterator[tuple[int, int]]:
    """(comment, user) of each mention that the event tells of."""
    comment, people = event.data.get("comment"), event.data.get("mentions")
    if event.verb in COMMENTED and isinstance(comment, int) and isinstance(people, list):
        yield from ((comment, person) for person in people if isinstance(person, int))
