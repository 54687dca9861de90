"""Where the rows of the audit log are read from: a SQLite file, a PostgreSQL server, or an exported JSONL file.

Only reading: SQLite is opened read-only, PostgreSQL in a read-only transaction, so that all rows are of one moment.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from cli.chain import Event
from cli.findings import CannotCheck

CHAINS = ("auditevent", "accessevent")
COLUMNS = "seq, at, body, prev, hash, verb, actor_id, team_id, object_type, object_id"


class Ledger(Protocol):
    """`query` is None for an export, which holds no other tables."""

    name: str

    def events(self, chain: str) -> Iterator[Event]: ...

    def query(self, sql: str) -> Iterator[tuple[Any, ...]]: ...


class Database:
    """A database of Assay. `connection` is of sqlite3 or psycopg; both speak the SQL that is asked here."""

    def __init__(self, name: str, connection: Any) -> None:
        self.name, self._connection = name, connection

    def query(self, sql: str) -> Iterator[tuple[Any, ...]]:
        cursor = self._cursor()
        try:
            cursor.execute(sql)
            while rows := cursor.fetchmany(2000):
                yield from rows
        except Exception as error:
            raise CannotCheck(f"{self.name} cannot be read: {' '.join(str(error).split())[:300]}.") from error
        finally:
            cursor.close()

    def _cursor(self) -> Any:
        if isinstance(self._connection, sqlite3.Connection):
            return self._connection.cursor()
        # Kept by the server and fetched in parts: a long chain does not have to fit in memory.
        return self._connection.cursor(name="assay_audit")

    def events(self, chain: str) -> Iterator[Event]:
        if chain not in CHAINS:
            raise ValueError(chain)
        for row in self.query(f"SELECT {COLUMNS} FROM registry_{chain} ORDER BY seq"):
            yield _event(row)


class Export:
    """Lines of JSON as `manage.py export_audit` writes them, in the order of the file."""

    def __init__(self, path: Path) -> None:
        self.name, self._path = str(path), path

    def query(self, sql: str) -> Iterator[tuple[Any, ...]]:
        raise CannotCheck("An export holds no tables.")

    def events(self, chain: str) -> Iterator[Event]:
        try:
            with self._path.open(encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    if line.strip():
                        row = _line(self.name, number, line)
                        if row["chain"] == chain:
                            yield _event(tuple(row[name] for name in COLUMNS.split(", ")))
        except (OSError, UnicodeDecodeError) as error:
            raise CannotCheck(f"{self.name} cannot be read: {error}.") from error


def _line(name: str, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        row["prev"], row["hash"] = bytes.fromhex(row["prev"]), bytes.fromhex(row["hash"])
        if (
            not set(COLUMNS.split(", ")) <= set(row)
            or row["chain"] not in CHAINS
            or type(row["seq"]) is not int
        ):
            raise ValueError("columns are missing or of another kind")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CannotCheck(f"{name}, line {number} is no event of an export: {error}.") from error
    return dict(row)


def _event(row: tuple[Any, ...]) -> Event:
    seq, at, body, prev, digest, *columns = row
    return Event(
        seq=int(seq),
        at=moment(at),
        body=body if isinstance(body, str) else "",
        prev=_bytes(prev),
        hash=_bytes(digest),
        columns=(columns[0], columns[1], columns[2], columns[3], columns[4]),
    )


def _bytes(value: Any) -> bytes:
    """Binary columns; anything else that somebody put there cannot be a digest."""
    return bytes(value) if isinstance(value, bytes | memoryview | bytearray) else b""


def moment(value: Any) -> datetime | None:
    """A time column: text in SQLite, a datetime in PostgreSQL."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


@contextmanager
def opened(where: str) -> Iterator[Database]:
    """The database at a path or a postgresql:// address. Raises CannotCheck."""
    if where.startswith(("postgresql://", "postgres://")):
        with _postgresql(where) as connection:
            yield Database(_without_password(where), connection)
        return
    path = Path(where)
    if not path.is_file():
        raise CannotCheck(f"{path} is not a file. Give a SQLite file or a postgresql:// address.")
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, isolation_level=None
    )
    connection.text_factory = lambda raw: raw.decode("utf-8", errors="surrogateescape")
    try:
        connection.execute("BEGIN")
        yield Database(str(path), connection)
    except sqlite3.DatabaseError as error:
        raise CannotCheck(f"{path} cannot be read as a SQLite database: {error}.") from error
    finally:
        connection.close()


@contextmanager
def _postgresql(url: str) -> Iterator[Any]:
    try:
        import psycopg
    except ImportError as error:
        raise CannotCheck("Reading PostgreSQL needs psycopg: pip install 'psycopg[binary]'.") from error
    try:
        connection = psycopg.connect(url)
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
    except psycopg.Error as error:
        raise CannotCheck(f"The database does not answer: {' '.join(str(error).split())[:300]}.") from error
    try:
        yield connection
    finally:
        connection.close()


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
