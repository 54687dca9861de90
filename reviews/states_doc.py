"""docs/states.md: the diagrams of the state machines, generated from their tables."""

from __future__ import annotations

from registry.machines import APPROVAL, JOB, Machine
from reviews.machines import REVIEW

INTRODUCTION = """# States

Generated from the tables in `reviews/machines.py` and `registry/machines.py` with
`python -m tests.house.states > docs/states.md`; a test compares the two. What is not an arrow here is refused with 409.
"""


def as_markdown() -> str:
    """The whole page: one heading and one Mermaid diagram a machine."""
    return "\n".join([INTRODUCTION, *map(_section, (REVIEW, APPROVAL, JOB))])


def _section(machine: Machine) -> str:
    return f"## {machine.name.capitalize()}\n\n```mermaid\n{machine.as_mermaid()}\n```\n"
