"""The text of a code file for a reader: whole, harmless, with nothing invisible left in it. Nothing is ever executed.

Lines end where Python's own reader ends them, so that the numbers of flagged calls fit. Characters that hide or reorder
text (controls, bidirectional marks, zero-width ones) are named in words instead of being sent to the browser.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from registry import store
from registry.inspection.python_code import MAX_PYTHON_BYTES
from registry.words import gettext, ngettext
from reviews.code_audits.manifest import CodeFile

WINDOW_LINES = 1_000
PIECE = 2_000  # characters of a line that stand in one row
WINDOW_CHARACTERS = 200_000
DIFF_LINES = 1_500  # of each side, after what both begin and end with
CONTEXT = 3
_LINE = re.compile(r"\r\n|\r|\n")
_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_PLAIN = ("utf-8", "utf8", "ascii", "us-ascii")


@dataclass(frozen=True)
class Part:
    """A run of characters; `hidden` is the name of one that would not be seen."""

    text: str
    hidden: str = ""


@dataclass(frozen=True)
class Row:
    """`sign`: "+", "-" or "" ; `number` 0 continues the line above."""

    number: int
    parts: list[Part]
    flags: list[dict[str, Any]] = field(default_factory=list)
    sign: str = ""


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
    hidden = [number for number, line in enumerate(lines, 1) if _hides(line)]
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


# Marks and letters that Unicode calls printable and that draw nothing: joiners, variation selectors, fillers, tags.
_DRAWS_NOTHING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)


def _hides(text: str) -> bool:
    """Whether some of it would not be seen. `isprintable` knows controls, format characters and spaces but the plain one."""
    return not text.replace("\t", "").isprintable() or _DRAWS_NOTHING.search(text) is not None


def parts_of(text: str) -> list[Part]:
    """Runs of what can be seen, and between them the names of what cannot."""
    if not _hides(text):
        return [Part(text)]
    parts: list[Part] = []
    run: list[str] = []
    for char in text:
        if not _hides(char):
            run.append(char)
            continue
        if run:
            parts.append(Part("".join(run)))
            run = []
        name = unicodedata.name(char, "") or {"\x00": "NUL", "\x1b": "ESCAPE"}.get(char, "control character")
        parts.append(Part(f"U+{ord(char):04X}", hidden=name))
    return [*parts, Part("".join(run))] if run else parts


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
        rows += _rows(number, line, flags.get(number, []))
        used += len(line)
    return rows, 0


def _rows(number: int, line: str, flags: list[dict[str, Any]], sign: str = "") -> Iterator[Row]:
    for offset in range(0, max(1, len(line)), PIECE):
        piece = parts_of(line[offset : offset + PIECE])
        yield Row(0 if offset else number, piece, [] if offset else flags, sign)


def difference(before: list[str], after: list[str]) -> list[Row]:
    """The changes from `before` to `after` with a few lines around them. A row with number 0 and sign "@" is a gap.

    Beyond DIFF_LINES the whole middle is shown as replaced: finding the smallest difference of hostile files takes hours.
    """
    if before == after:
        return []
    head, tail = _common(before, after)
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    if len(old) > DIFF_LINES or len(new) > DIFF_LINES:
        codes = [("replace", head, len(before) - tail, head, len(after) - tail)]
    else:
        matcher = difflib.SequenceMatcher(None, old, new, autojunk=True)
        codes = [(tag, a + head, b + head, c + head, d + head) for tag, a, b, c, d in matcher.get_opcodes()]
    changed = [code for code in codes if code[0] != "equal"]
    rows: list[Row] = []
    shown = 0  # lines of `after` that were shown or passed
    for _, old_from, old_to, new_from, new_to in changed:
        start = max(shown, new_from - CONTEXT)
        if start > shown:
            rows.append(
                Row(
                    0,
                    [Part(ngettext("%(n)s unchanged line", "%(n)s unchanged lines", start - shown))],
                    sign="@",
                )
            )
        rows += [r for n in range(start, new_from) for r in _rows(n + 1, after[n], [])]
        rows += [r for n in range(old_from, old_to) for r in _rows(n + 1, before[n], [], "-")]
        rows += [r for n in range(new_from, new_to) for r in _rows(n + 1, after[n], [], "+")]
        following = min((c[3] for c in changed if c[3] > new_from), default=len(after))
        shown = min(new_to + CONTEXT, following, len(after))
        rows += [r for n in range(new_to, shown) for r in _rows(n + 1, after[n], [])]
    if shown < len(after):
        rows.append(
            Row(
                0,
                [Part(ngettext("%(n)s unchanged line", "%(n)s unchanged lines", len(after) - shown))],
                sign="@",
            )
        )
    return rows


def _common(before: list[str], after: list[str]) -> tuple[int, int]:
    """How many lines both begin with, and how many both end with."""
    most = min(len(before), len(after))
    head = next((n for n in range(most) if before[n] != after[n]), most)
    tail = next((n for n in range(most - head) if before[-1 - n] != after[-1 - n]), most - head)
    return head, tail
