"""Text as rows for a reader, and what changed between two texts: cards, code, policies. Bounded, nothing invisible left.

The rows go through one template, reviews/_difference.html. Characters that hide or reorder text are named in words.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from registry.words import ngettext

PIECE = 2_000  # characters of a line that stand in one row
DIFF_LINES = 1_500  # of each side, after what both begin and end with
CONTEXT = 3


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


# Marks and letters that Unicode calls printable and that draw nothing: joiners, variation selectors, fillers, tags.
_DRAWS_NOTHING = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)


def hides(text: str) -> bool:
    """Whether some of it would not be seen. `isprintable` knows controls, format characters and spaces but the plain one."""
    return not text.replace("\t", "").isprintable() or _DRAWS_NOTHING.search(text) is not None


def parts_of(text: str) -> list[Part]:
    """Runs of what can be seen, and between them the names of what cannot."""
    if not hides(text):
        return [Part(text)]
    parts: list[Part] = []
    run: list[str] = []
    for char in text:
        if not hides(char):
            run.append(char)
            continue
        if run:
            parts.append(Part("".join(run)))
            run = []
        name = unicodedata.name(char, "") or {"\x00": "NUL", "\x1b": "ESCAPE"}.get(char, "control character")
        parts.append(Part(f"U+{ord(char):04X}", hidden=name))
    return [*parts, Part("".join(run))] if run else parts


def rows_of(number: int, line: str, flags: list[dict[str, Any]], sign: str = "") -> Iterator[Row]:
    """One line; a very long one in pieces."""
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
            rows.append(Row(0, [_gap(start - shown)], sign="@"))
        rows += [r for n in range(start, new_from) for r in rows_of(n + 1, after[n], [])]
        rows += [r for n in range(old_from, old_to) for r in rows_of(n + 1, before[n], [], "-")]
        rows += [r for n in range(new_from, new_to) for r in rows_of(n + 1, after[n], [], "+")]
        following = min((c[3] for c in changed if c[3] > new_from), default=len(after))
        shown = min(new_to + CONTEXT, following, len(after))
        rows += [r for n in range(new_to, shown) for r in rows_of(n + 1, after[n], [])]
    if shown < len(after):
        rows.append(Row(0, [_gap(len(after) - shown)], sign="@"))
    return rows


def _gap(lines: int) -> Part:
    return Part(ngettext("%(n)s unchanged line", "%(n)s unchanged lines", lines))


def _common(before: list[str], after: list[str]) -> tuple[int, int]:
    """How many lines both begin with, and how many both end with."""
    most = min(len(before), len(after))
    head = next((n for n in range(most) if before[n] != after[n]), most)
    tail = next((n for n in range(most - head) if before[-1 - n] != after[-1 - n]), most - head)
    return head, tail
