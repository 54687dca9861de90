"""How a table is held against the log: it is described as data, and one loop compares."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from cli.chain import Told
from cli.ledgers import Ledger, moment

Problem = tuple[str, str, int, str]  # rule, table, row, sentence
Said = dict[str, tuple[Any, Told]]  # column in words -> what it should be, and the event that says so
Read = Callable[[Any], Any]


def as_it_is(value: Any) -> Any:
    return value


def parsed(value: Any) -> Any:
    """A JSON column, asked for as text. What cannot be read is given back, and then differs."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


def truth(value: Any) -> Any:
    """A yes/no column: 0 and 1 in SQLite."""
    return bool(value) if value in (0, 1) else value


def is_set(value: Any) -> bool:
    return value is not None


def day(value: Any) -> str | None:
    """A date column: text in SQLite."""
    return None if value is None else str(value)[:10]


def text_digest(value: Any) -> str:
    return hashlib.sha256(str(value).encode("utf-8", errors="surrogatepass")).hexdigest()


def json_digest(value: Any) -> str:
    """Of the canonical JSON: sorted keys, no spaces, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text_digest(text)


def when(value: Any) -> Any:
    return moment(value)


@dataclass(frozen=True)
class Column:
    """`name` is what a sentence calls it, `sql` where it stands, `read` makes both databases' values alike."""

    name: str
    sql: str
    read: Read = as_it_is


def json_column(name: str, sql: str, read: Read = as_it_is) -> Column:
    """As text, so that both databases give the same to read."""
    return Column(name, f"CAST({sql} AS TEXT)", lambda value: read(parsed(value)))


@dataclass(frozen=True)
class Table:
    """One table of records.

    `columns` are read with the row's number. `rows`: what follows FROM. `row_of` gives the number of the row that an event is
    about, None for events about something else. `born`: the verbs that write a row, `gone`: those that take it away. `said`
    gives what the row should be after its events, oldest first; `also` what the row must be by itself: {column: (is, should
    be)}. `what` and `lost` name a row that is there and one that is not.
    """

    name: str
    kinds: tuple[str, ...]
    rows: str
    columns: tuple[Column, ...]
    row_of: Callable[[Told], int | None]
    born: frozenset[str]
    said: Callable[[list[Told]], Said]
    what: str = "Row {pk}"
    lost: str = "Row {pk}, of event {seq},"
    key: str = "id"
    gone: frozenset[str] = frozenset()
    also: Callable[[dict[str, Any]], dict[str, tuple[Any, Any]]] = lambda row: {}


def subject(kind: str, *prefixes: str) -> Callable[[Told], int | None]:
    """Events whose object is the row itself."""

    def row_of(event: Told) -> int | None:
        fits = event.object_type == kind and (not prefixes or event.verb.startswith(prefixes))
        return event.object_id if fits else None

    return row_of


def named(key: str, *verbs: str) -> Callable[[Told], int | None]:
    """Events about something else that name the row in their data."""

    def row_of(event: Told) -> int | None:
        pk = event.data.get(key) if event.verb in verbs else None
        return pk if isinstance(pk, int) else None

    return row_of


def first(history: list[Told], *verbs: str) -> Told | None:
    return next((event for event in history if event.verb in verbs), None)


def last(history: list[Told], *verbs: str) -> Told | None:
    return next((event for event in reversed(history) if event.verb in verbs), None)


def taken(event: Told, **columns: str) -> Said:
    """{column: data key} of what the event says; a key that it does not carry is compared with nothing."""
    return {
        name.replace("_", " "): (event.data[key], event) for name, key in columns.items() if key in event.data
    }


def problems(table: Table, ledger: Ledger, told: list[Told]) -> Iterator[Problem]:
    """Raises CannotCheck when the table cannot be read."""
    histories: dict[int, list[Told]] = {}
    for event in told:
        if event.object_type in table.kinds and (pk := table.row_of(event)) is not None:
            histories.setdefault(pk, []).append(event)
    selected = ", ".join(column.sql for column in table.columns)
    for pk, *values in ledger.query(f"SELECT {table.key}, {selected} FROM {table.rows} ORDER BY {table.key}"):
        history = histories.pop(pk, [])
        row = {c.name: c.read(value) for c, value in zip(table.columns, values, strict=True)}
        what = table.what.format(pk=pk, **{name.replace(" ", "_"): value for name, value in row.items()})
        turn = last(history, *table.born, *table.gone)
        if turn is None or turn.verb in table.gone:
            yield "record-without-event", table.name, pk, f"{what} has no event in the log."
            continue
        for name, (value, event) in table.said(history).items():
            if row[name] != value:
                sentence = f"{what}: its {name}{_shown(row[name])} is not what event {event.seq} ({event.verb}) says."
                yield "record-differs", table.name, pk, sentence
        for name, (found, due) in table.also(row).items():
            if found != due:
                yield "record-differs", table.name, pk, f"{what}: its {name} does not give its digest."
    for pk, history in sorted(histories.items()):
        born = last(history, *table.born)
        if born is not None and history[-1].verb not in table.gone:
            words = _Words({key: str(value) for key, value in born.data.items()}, pk=pk, seq=born.seq)
            what = table.lost.format_map(words)
            yield "event-without-record", table.name, pk, f"{what} is not there any more."


def _shown(value: Any) -> str:
    """A short word beside its column; digests and sentences say nothing more there."""
    return f" “{value}”" if isinstance(value, str) and 0 < len(value) <= 20 else ""


class _Words(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"
