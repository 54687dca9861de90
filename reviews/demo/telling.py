"""How the story is told: one line a step, a failure is kept and said, and the rest goes on where it can."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Say = Callable[[str], None]


class FellShort(AssertionError):
    """A step did not show what it promises; the message says what was seen instead."""


def expect(condition: object, what: str) -> None:
    """Raises FellShort with what was seen."""
    if not condition:
        raise FellShort(what)


@dataclass(frozen=True)
class Step:
    """`act` does it and returns what there was to see, a sentence or several lines. Raises FellShort and others."""

    title: str
    act: Callable[[], str]


class Teller:
    """Runs steps in their order. `alive` raises when a process of the set-up has died; that ends the story."""

    def __init__(self, say: Say, *, alive: Callable[[], None]) -> None:
        self.say, self.alive = say, alive
        self.failed: list[str] = []
        self.count = 0
        self.started = time.monotonic()

    def tell(self, steps: Sequence[Step]) -> bool:
        """True when every step held."""
        for number, step in enumerate(steps, start=1):
            self.alive()
            started = time.monotonic()
            try:
                seen, verdict = step.act(), "ok"
            except Exception as error:  # whatever it was: the step fell short, and the reader must see why
                self.alive()
                seen, verdict = f"{type(error).__name__}: {error}", "FAILED"
                self.failed.append(step.title)
            self.count += 1
            self.say(
                f"[{number:2}/{len(steps)}] {verdict:<6} {time.monotonic() - started:5.1f} s  {step.title}"
            )
            for line in seen.splitlines():
                self.say(textwrap.fill(line, 116, initial_indent=" " * 10, subsequent_indent=" " * 12))
        return not self.failed

    def verdict(self) -> str:
        seconds = f"{time.monotonic() - self.started:.0f} s"
        if not self.failed:
            return f"All {self.count} steps held ({seconds})."
        return f"{len(self.failed)} of {self.count} steps fell short ({seconds}): {'; '.join(self.failed)}."


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table; the first row is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]
