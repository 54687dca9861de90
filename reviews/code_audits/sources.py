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
            f"The file has {size:,} bytes and only the first {MAX_PYTHON_BYTES:,} are shown: it cannot pass. "
            "Ask the author to split it."
        )
    for line in content.split(b"\n", 2)[:2]:
        coding = _CODING.match(line)
        if coding and coding[1].decode("ascii", "replace").lower() not in _PLAIN:
            notes.append(
                f"The file declares the encoding {coding[1].decode('ascii', 'replace')!r}: Python would read other "
                "characters than the ones shown here, which are its bytes as UTF-8."
            )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        text = content.decode("utf-8", "backslashreplace")
        if size <= MAX_PYTHON_BYTES:
            notes.append("The file is not UTF-8: bytes that are no text are shown as \\x.. .")
    lines = _lines(text)
    hidden = [number for number, line in enumerate(lines, 1) if hides(line)]
    if hidden:
        notes.append(
            f"Invisible or reordering characters stand in line {_numbers(hidden)}; they are named where they stand."
        )
    long = [number for number, line in enumerate(lines, 1) if len(line) > PIECE]
    if long:
        notes.append(
            f"Line {_numbers(long)} is very long; it is shown in pieces of {PIECE:,} characters, to its end."
        )
    return Source(lines, notes, size > MAX_PYTHON_BYTES)


def _numbers(found: list[int]) -> str:
    shown = ", ".join(str(number) for number in found[:8])
    return f"{shown} and {len(found) - 8} more" if len(found) > 8 else shown


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
