"""Chat templates: Jinja that runs where the model is served. Read as text, never rendered."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from registry.inspection.findings import Inspection

MAX_TEMPLATE_BYTES = 256 * 1024
_SIGNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"__\w+__|\\x5f\\x5f|\\u005f"), "reaches Python's inner names"),
    (re.compile(r"\|\s*attr\b"), "reaches attributes by name (attr filter)"),
    (re.compile(r"\{%-?\s*(import|from|include|extends)\b"), "loads another template"),
    (re.compile(r"\b(lipsum|cycler|joiner)\b"), "uses a helper through which sandboxes were left"),
    (re.compile(r"\b(self|request|config|environment)\s*[\.\[]"), "reaches the application around it"),
    (re.compile(r"\b(popen|subprocess|getattr|mro|globals|builtins|eval|exec|system|read)\s*\("), "calls a function"),
    (re.compile(r"\b(os|sys|importlib|builtins)\s*\."), "names a Python module"),
    (re.compile(r"range\s*\(\s*[^)]*\d{6,}"), "loops a million times or more"),
    (re.compile(r"%0?\d{6,}[ds]|\*\s*\d{7,}|\*\*\s*\d{3,}"), "builds a text of any size"),
    (re.compile(r"https?://"), "names an address on the network"),
)  # fmt: skip
_ATTACKS = 5  # the first signs have no honest use; the others deserve a look


def templates_in(path: str, document: Any) -> Iterator[tuple[str, str]]:
    """(key, template) of a JSON document: `chat_template` as text, as {name: text} or as [{name, template}]."""
    value = document.get("chat_template") if isinstance(document, dict) else None
    if isinstance(value, str):
        yield "chat_template", value
    elif isinstance(value, dict):
        yield from ((f"chat_template.{name}", text) for name, text in value.items() if isinstance(text, str))
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            if isinstance(entry, dict) and isinstance(entry.get("template"), str):
                yield f"chat_template[{number}]", entry["template"]


def inspect_template(path: str, key: str, text: str, result: Inspection) -> None:
    """Adds a finding for each sign, at its first line."""
    if len(text) > MAX_TEMPLATE_BYTES:
        result.fail(path, "The chat template is larger than 256 KiB.", "No honest template is.", key=key)
        return
    for number, (pattern, what) in enumerate(_SIGNS):
        match = pattern.search(text)
        if match:
            say = result.fail if number < _ATTACKS else result.warn
            say(
                path,
                f"The chat template {what}: {match.group(0)[:60]!r}.",
                "A template is a program. Do not serve this model with a runtime that renders it.",
                line=text.count("\n", 0, match.start()) + 1,
                key=key,
            )
