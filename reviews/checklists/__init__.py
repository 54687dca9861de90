"""Checklists: versioned templates, typed answers, suggestions with their sources, and what is still missing."""

from reviews.checklists.answers import (
    answer_value,
    asked_roles,
    doubts,
    findings,
    is_required,
    missing_answers,
    suggestions_for,
)
from reviews.checklists.export import filled_template_markdown
from reviews.checklists.template import localised, shipped, title_of

__all__ = [
    "answer_value", "asked_roles", "doubts", "filled_template_markdown", "findings", "frozen_checklist", "is_required",
    "localised", "missing_answers", "shipped", "suggestions_for", "title_of",
]  # fmt: skip


def frozen_checklist() -> list[dict[str, object]]:
    """The shipped template's items as they are frozen into a request."""
    return [dict(item) for item in shipped().items]
