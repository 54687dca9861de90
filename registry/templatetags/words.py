"""What templates say of kept sentences."""

from __future__ import annotations

from django import template

from registry import stored_words

register = template.Library()


@register.filter
def retold(text: object) -> str:
    """A sentence that is kept in English, in the reader's language."""
    return stored_words.retold("" if text is None else str(text))
