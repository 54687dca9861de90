"""Answers that a browser saves."""

from __future__ import annotations

from django.http import HttpResponse


def file_answer(content: bytes, name: str, content_type: str, *, inline: bool = False) -> HttpResponse:
    """A file under its own name; `inline` shows it in the browser."""
    answer = HttpResponse(content, content_type=content_type)
    answer["Content-Disposition"] = f'{"inline" if inline else "attachment"}; filename="{name}"'
    answer["Cache-Control"] = "private, no-store"
    return answer
