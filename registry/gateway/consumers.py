"""Who downloads what: counted in memory, written by a thread of its own, read by people who want to revoke.

A download never waits for the database: `note` adds to a table in memory, and a thread writes it every `FLUSH_S` seconds
while there is something to write. What a killed process had not yet written is lost: at most those seconds.
"""

from __future__ import annotations

import atexit
import logging
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from registry.actors import Actor
from registry.models import ApiToken, Download, Revision
from registry.words import gettext

logger = logging.getLogger(__name__)
FLUSH_S = 3.0
MOST = 10_000  # (token, revision) pairs kept while the database is away; what comes then is not counted


@dataclass
class Seen:
    """What was not yet written of one token and one revision."""

    user: int
    team: int
    first: datetime
    last: datetime
    bytes: int = 0
    files: int = 0


_seen: dict[tuple[str, int], Seen] = {}
_lock = threading.Lock()
_stop = threading.Event()
_flusher: threading.Thread | None = None
in_background = True  # tests that run in one transaction write by `flush()` themselves


def note(actor: Actor, revision: int, *, sent: int = 0, files: int = 0) -> None:
    """Counts one answer about a revision: `sent` bytes of `files` files (0 of 0 for metadata). Never waits, never fails."""
    now = timezone.now()
    with _lock:
        key = (actor.token_id, revision)
        row = _seen.get(key)
        if row is None:
            if len(_seen) >= MOST:
                return
            row = _seen[key] = Seen(actor.user.pk, actor.in_team.pk, now, now)
        row.last = now
        row.bytes += sent
        row.files += files
    if in_background:
        _wake()


def _wake() -> None:
    global _flusher
    with _lock:
        if _flusher is not None and _flusher.is_alive():
            return
        _flusher = threading.Thread(target=_work, name="download-notes", daemon=True)
        _flusher.start()


def _work() -> None:
    """Ends when there is nothing to write, so that an idle process holds no connection for it."""
    global _flusher
    try:
        while True:
            _stop.wait(FLUSH_S)
            try:
                flush()
            except Exception:
                logger.warning("downloads_not_noted", exc_info=True)
                connection.close()
            with _lock:
                if not _seen or _stop.is_set():
                    _flusher = None
                    return
    finally:
        connection.close()


def flush() -> int:
    """Writes what was counted; returns the number of rows. What could not be written is counted again."""
    with _lock:
        taken = dict(_seen)
        _seen.clear()
    written = 0
    try:
        for (token, revision), row in list(taken.items()):
            _write(token, revision, row)
            del taken[token, revision]
            written += 1
    finally:
        with _lock:
            for key, row in taken.items():
                newer = _seen.get(key)
                if newer is None:
                    _seen[key] = row
                else:
                    newer.first, newer.bytes, newer.files = (
                        row.first,
                        newer.bytes + row.bytes,
                        newer.files + row.files,
                    )
    return written


def _write(token: str, revision: int, row: Seen) -> None:
    """Add, else insert, else (another process inserted meanwhile) add."""
    mine = Download.objects.filter(token=token, revision=revision)
    added: dict[str, Any] = {
        "bytes": F("bytes") + row.bytes,
        "files": F("files") + row.files,
        "last_seen": row.last,
    }
    if mine.update(**added):
        return
    try:
        with transaction.atomic():
            Download.objects.create(
                token=token,
                revision_id=revision,
                user_id=row.user,
                team_id=row.team,
                first_seen=row.first,
                last_seen=row.last,
                bytes=row.bytes,
                files=row.files,
            )
    except IntegrityError:
        if not mine.update(**added):
            # The team, the user or the revision is gone: there is nobody left to count it for.
            logger.warning("download_without_owner", extra={"token": token, "revision": revision})


def _at_exit() -> None:
    _stop.set()
    thread = _flusher
    if thread is not None:
        thread.join(timeout=2)


atexit.register(_at_exit)


@dataclass(frozen=True)
class Consumer:
    """One row of the consumer map as people and programs read it."""

    token: str
    token_name: str
    user: str
    team: str
    first_seen: datetime
    last_seen: datetime
    bytes: int
    files: int


def consumers_of(revision: Revision, most: int = 200) -> list[Consumer]:
    """Who has downloaded a revision, the latest first. Two queries."""
    rows = list(
        Download.objects.filter(revision=revision)
        .select_related("user", "team")
        .order_by("-last_seen")[:most]
    )
    names = dict(
        ApiToken.objects.filter(public_id__in=[row.token for row in rows]).values_list("public_id", "name")
    )
    return [
        Consumer(
            token=row.token,
            token_name=names.get(row.token, ""),
            user=row.user.display_name,
            team=row.team.slug,
            first_seen=row.first_seen,
            last_seen=row.last_seen,
            bytes=row.bytes,
            files=row.files,
        )
        for row in rows
    ]


def affected_sentence(consumers: list[Consumer]) -> str:
    """Who loses a revision, in a sentence; names at most five."""
    if not consumers:
        return gettext("Nobody has downloaded it.")
    names = list(dict.fromkeys(c.user + (f" ({c.token_name})" if c.token_name else "") for c in consumers))
    more = gettext(" and %(n)s more", n=len(names) - 5) if len(names) > 5 else ""
    return gettext(
        "Affected, because they have downloaded it: %(names)s%(more)s.", names=", ".join(names[:5]), more=more
    )
