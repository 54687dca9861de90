"""The text of a code file for a reader: whole, harmless, with nothing invisible left in it. Nothing is ever executed.

Lines end where Python's own reader ends them, so that the numbers of flagged calls fit. Characters that hide or reorder
text (controls, bidirectional marks, zero-width ones) are named in words instead of being sent to the browser; the rows and
what is hidden in them: reviews/differences.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from registry import store
from registry.inspection.python_code import MAX_PYTHON_BYTES
from registry.words import gettext
from reviews.code_audits.manifest import CodeFile
from reviews.differences import PIECE, Row, hides, rows_of

WINDOW_LINES = 1_000
WINDOW_CHARACTERS = 200_000
_LINE = re.compile(r"\r\n|\r|\n")
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_PLAIN = ("utf-8", "utf8", "ascii", "us-ascii")


@dataclass(frozen=True)
class Source:
    """`notes` are what a reader must know before believing the text. `more`: the number of the next window, 0 at the end."""

    lines: list[str]
    notes: list[str]
    too_large: bool = False


def read(file: CodeFile) -> Source:
    """The lines of a stored file, at most MAX_PYTHON_BYTES of it. Raises IntegrityFailure when the store is damaged."""
    if file.is_keys:
        return Source(_lines(file.keys), [])
    return of_digest(file.sha256, file.size)


def of_digest(sha256: str, size: int) -> Source:
    with store.verified_once(sha256, size) as held:
        content = held.read(MAX_PYTHON_BYTES)
    notes = []
    if size > MAX_PYTHON_BYTES:
        notes.append(
            gettext(
                "The file has %(size)s bytes and only the first %(limit)s are shown: it cannot "
                "pass. Ask the author to split it.",
                size=f"{size:,}",
                limit=f"{MAX_PYTHON_BYTES:,}",
            )
        )
    for line in content.split(b"\n", 2)[:2]:
        coding = _CODING.match(line)
        if coding and coding[1].decode("ascii", "replace").lower() not in _PLAIN:
            notes.append(
                gettext(
                    "The file declares the encoding %(encoding)s: Python would read other characters than the ones "
                    "shown here, which are its bytes as UTF-8.",
                    encoding=coding[1].decode("ascii", "replace"),
                )
            )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("utf-8", "backslashreplace")
        if size <= MAX_PYTHON_BYTES:
            notes.append(gettext("The file is not UTF-8: bytes that are no text are shown as \\x.. ."))
    lines = _lines(text)
    hidden = [number for number, line in enumerate(lines, 1) if hides(line)]
    if hidden:
        notes.append(
            gettext(
                "Invisible or reordering characters stand in line %(lines)s; they are named where they "
                "stand.",
                lines=_numbers(hidden),
            )
        )
    long = [number for number, line in enumerate(lines, 1) if len(line) > PIECE]
    if long:
        notes.append(
            gettext(
                "Line %(lines)s is very long; it is shown in pieces of %(piece)s characters, to its end.",
                lines=_numbers(long),
                piece=f"{PIECE:,}",
            )
        )
    return Source(lines, notes, size > MAX_PYTHON_BYTES)


def _numbers(found: list[int]) -> str:
    shown = ", ".join(str(number) for number in found[:8])
    return (
        gettext("%(shown)s and %(more)s more", shown=shown, more=len(found) - 8) if len(found) > 8 else shown
    )


def _lines(text: str) -> list[str]:
    lines = _LINE.split(text)
    return lines[:-1] if lines and not lines[-1] else lines


def window(source: Source, flagged: list[dict[str, Any]], start: int) -> tuple[list[Row], int]:
    """Rows from line `start` (from 1) on, and the line that the next window begins with (0: this was the last)."""
    flags: dict[int, list[dict[str, Any]]] = {}
    for flag in flagged:
        if isinstance(flag, dict) and isinstance(flag.get("line"), int):
            flags.setdefault(flag["line"], []).append(flag)
    rows: list[Row] = []
    used = 0
    for number in range(max(1, start), len(source.lines) + 1):
        line = source.lines[number - 1]
        if rows and (len(rows) >= WINDOW_LINES or used + len(line) > WINDOW_CHARACTERS):
            return rows, number
        rows += rows_of(number, line, flags.get(number, []))
        used += len(line)
    return rows, 0
