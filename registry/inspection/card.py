"""The model card: YAML header, sections of the Hub's template, and what each checklist item can cite from it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from registry.inspection.documents import BadDocument, read_yaml
from registry.inspection.findings import Inspection

MAX_CARD_BYTES = 1024 * 1024
_HEADER = re.compile(r"\A---[ \t]*\r?\n(.*?\r?\n)?---[ \t]*(?:\r?\n|\Z)", re.DOTALL)
_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*\s*$")
_FENCE = re.compile(r"^\s*(```|~~~)")

# section of the Hub's model card template -> words its heading may contain
SECTIONS: dict[str, tuple[str, ...]] = {
    "description": ("model description", "model details", "overview"),
    "direct_use": ("direct use", "intended use", "uses"),
    "downstream_use": ("downstream use",),
    "out_of_scope": ("out-of-scope", "out of scope", "misuse"),
    "limitations": ("bias, risks", "limitations", "risks"),
    "recommendations": ("recommendations",),
    "get_started": ("get started", "how to use", "usage"),
    "training_data": ("training data",),
    "training_procedure": ("training procedure", "hyperparameters"),
    "evaluation_data": ("testing data", "evaluation data"),
    "metrics": ("metrics",),
    "results": ("results",),
    "environment": ("environmental impact",),
    "technical": ("technical specifications", "compute infrastructure", "hardware"),
    "inference": ("inference requirements", "inference"),
    "citation": ("citation",),
    "contact": ("contact", "card authors"),
}


@dataclass(frozen=True)
class Section:
    """A heading and the lines below it, 1-based and inclusive, in README.md as it lies in the repository."""

    title: str
    level: int
    start: int
    end: int
    text: str


def split_card(text: str) -> tuple[str, int]:
    """(the YAML header without its fences, number of lines it takes); ("", 0) when there is none."""
    match = _HEADER.match(text)
    if not match:
        return "", 0
    return match.group(1) or "", match.group(0).count("\n") + (0 if match.group(0).endswith("\n") else 1)


def sections_of(text: str) -> list[Section]:
    """The sections of a card, headings in code fences ignored."""
    lines = text.splitlines()
    _, skipped = split_card(text)
    headings: list[tuple[int, int, str]] = []
    fenced = False
    for number, line in enumerate(lines, start=1):
        if number <= skipped:
            continue
        if _FENCE.match(line):
            fenced = not fenced
        elif not fenced and (match := _HEADING.match(line)):
            headings.append((number, len(match.group(1)), match.group(2)))
    result = []
    for index, (number, level, title) in enumerate(headings):
        end = headings[index + 1][0] - 1 if index + 1 < len(headings) else len(lines)
        while end > number and not lines[end - 1].strip():
            end -= 1
        result.append(Section(title, level, number, end, "\n".join(lines[number:end]).strip()))
    return result


def find_section(sections: list[Section], key: str) -> Section | None:
    """The first section whose heading says what `key` names and that has text of its own."""
    for words in SECTIONS[key]:
        for section in sections:
            if words in section.title.lower() and section.text:
                return section
    return None


def inspect_card(data: bytes | None) -> tuple[str, dict[str, Any], Inspection]:
    """(card_text, card_data, inspection). A missing or broken card is a finding, not a failure: people decide."""
    result = Inspection(facts={"sections": {}, "missing_sections": list(SECTIONS), "completeness": 0})
    if data is None:
        result.warn(
            "README.md", "The repository has no model card.", "Ask the author for one; every item stays open."
        )
        return "", {}, result
    if len(data) > MAX_CARD_BYTES:
        result.warn("README.md", "The model card is larger than 1 MiB; only its first MiB was read.")
        data = data[:MAX_CARD_BYTES]
    text = data.decode("utf-8", errors="replace").replace("\x00", "\ufffd")
    header, _ = split_card(text)
    card_data: dict[str, Any] = {}
    if not header:
        result.warn(
            "README.md",
            "The model card has no YAML header, so licence, language and data sets are not declared.",
            "Read the text of the card for them, or ask the author to add the header.",
        )
    else:
        try:
            card_data = read_yaml("README.md", header)
        except BadDocument as error:
            result.warn("README.md", error.message, "Treat every declared fact as missing.")
    sections = sections_of(text)
    found = {key: section for key in SECTIONS if (section := find_section(sections, key))}
    missing = [key for key in SECTIONS if key not in found]
    result.facts = {
        "sections": {key: {"title": s.title, "start": s.start, "end": s.end} for key, s in found.items()},
        "missing_sections": missing,
        "completeness": round(100 * len(found) / len(SECTIONS)),
        "metrics": _metrics(card_data),
    }
    if missing:
        result.info(
            "README.md",
            f"{len(missing)} of {len(SECTIONS)} sections of the Hub's card template are missing: "
            + ", ".join(key.replace("_", " ") for key in missing)
            + ".",
        )
    if not card_data.get("license"):
        result.warn(
            "README.md",
            "The card declares no licence.",
            "Without a licence nobody may use it; ask the author.",
        )
    return text, card_data, result


def _metrics(card_data: dict[str, Any]) -> list[dict[str, str]]:
    """Metrics of the card's model-index, each {type, value, dataset}; anything of another shape is left out."""
    found = []
    index = card_data.get("model-index")
    for model in index if isinstance(index, list) else []:
        for result in (model or {}).get("results", []) if isinstance(model, dict) else []:
            if not isinstance(result, dict):
                continue
            dataset = result.get("dataset")
            name = str(dataset.get("name", "")) if isinstance(dataset, dict) else ""
            metrics = result.get("metrics")
            for metric in metrics if isinstance(metrics, list) else []:
                if isinstance(metric, dict):
                    found.append(
                        {"type": str(metric.get("type")), "value": str(metric.get("value")), "dataset": name}
                    )
    return found[:50]
