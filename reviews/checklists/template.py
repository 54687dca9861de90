"""A checklist template as data: read from YAML, checked to the last word, frozen into requests as a flat list of items.

A frozen item is plain JSON: `key, section, section_title, title, question, guidance, type, required (tiers), role,
rests_on (kinds of files and runs its answer depends on), unit, min, max, options {value: label}, doubtful (values that ask
for conditions)` in English, and `texts: {"vi": {…}}` beside it.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.utils.translation import get_language

from registry.canonical import sha256_json
from registry.enums import Role
from registry.exceptions import InvalidInput
from registry.inspection.documents import BadDocument, read_yaml
from registry.words import both, gettext, joined, told
from reviews.tiers import TIERS

SHIPPED = Path(__file__).resolve().parents[1] / "templates_data" / "model_card_review.yaml"
LANGUAGES = ("en", "vi")
TYPES = ("text", "choice", "number", "yesno", "link")
KINDS = ("card", "licence", "config", "tokenizer", "labels", "weights", "code", "run")
YES_NO = {
    "yes": {"en": "Yes", "vi": "Có"},
    "no": {"en": "No", "vi": "Không"},
    "na": {"en": "Does not apply", "vi": "Không áp dụng"},
}
MAX_YAML, MAX_ITEMS = 60_000, 200
_KEY = re.compile(r"\A[a-z][a-z0-9_]{0,39}\Z")
_FIELDS = {"key", "type", "required", "role", "rests_on", "title", "question", "guidance",
           "unit", "min", "max", "options", "doubtful"}  # fmt: skip


@dataclass(frozen=True)
class Template:
    """A template that has been checked. `content` is what is frozen, `sha256` its digest."""

    slug: str
    name: dict[str, str]
    items: list[dict[str, Any]]

    @property
    def sha256(self) -> str:
        return sha256_json({"slug": self.slug, "name": self.name, "items": self.items})

    @property
    def sections(self) -> list[str]:
        return list(dict.fromkeys(item["section_title"] for item in self.items))


def _refuse(where: str, what: str) -> InvalidInput:
    return InvalidInput(joined([where, what], ": "), code="bad_template", field="source")


def _words(where: str, value: Any) -> dict[str, str]:
    """{"en": …, "vi": …}, both with words: a reviewer must never meet an item that is not in their language."""
    if not isinstance(value, dict) or set(value) != set(LANGUAGES):
        raise _refuse(where, gettext("give the words in both languages, as {en: …, vi: …}."))
    for language, text in value.items():
        if not isinstance(text, str) or not text.strip() or len(text) > 1000:
            raise _refuse(
                where,
                gettext(
                    "the words in `%(language)s` are missing or longer than 1,000 characters.",
                    language=language,
                ),
            )
    return {language: str(value[language]).strip() for language in LANGUAGES}


def _key(where: str, value: Any) -> str:
    if not isinstance(value, str) or not _KEY.match(value):
        raise _refuse(
            where, gettext("`%(value)s` is no key: small letters, digits and _ only.", value=str(value)[:40])
        )
    return value


def _subset(where: str, value: Any, known: tuple[str, ...], name: str) -> list[str]:
    if not isinstance(value, list) or not set(map(str, value)) <= set(known):
        raise _refuse(
            where, gettext("`%(name)s` is a list of: %(known)s.", name=name, known=", ".join(known))
        )
    return [each for each in known if each in value]


def _shape(where: str, raw: dict[str, Any]) -> dict[str, Any]:
    """What only some types have: bounds of a number, options of a choice."""
    kind = raw["type"]
    given = {name for name in ("unit", "min", "max", "options") if name in raw}
    allowed = {"number": {"unit", "min", "max"}, "choice": {"options"}}.get(kind, set())
    if given != allowed:
        expected = both(sorted(allowed)) or gettext("none of unit, min, max, options")
        raise _refuse(
            where, gettext("an item of type %(kind)s has %(expected)s.", kind=kind, expected=expected)
        )
    if kind == "number":
        low, high = raw["min"], raw["max"]
        if not all(type(bound) in (int, float) for bound in (low, high)) or low >= high:
            raise _refuse(where, gettext("`min` and `max` are numbers, and min is the smaller one."))
        return {"unit": str(raw["unit"])[:20], "min": low, "max": high}
    return {}


def _options(where: str, raw: dict[str, Any]) -> dict[str, dict[str, str]]:
    if raw["type"] == "yesno":
        return YES_NO
    if raw["type"] != "choice":
        return {}
    options = raw["options"]
    if not isinstance(options, dict) or len(options) < 2:
        raise _refuse(where, gettext("`options` has two entries or more, each {en: …, vi: …}."))
    return {
        _key(where, str(key)): _words(gettext("%(where)s, option %(key)s", where=where, key=key), text)
        for key, text in options.items()
    }


def _item(section: dict[str, Any], raw: Any) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise _refuse(
            gettext("Section %(section)s", section=section["key"]), gettext("an item is a mapping.")
        )
    key = _key(gettext("Section %(section)s", section=section["key"]), raw.get("key"))
    where = gettext("Item %(key)s", key=key)
    if unknown := set(raw) - _FIELDS:
        raise _refuse(where, gettext("unknown field `%(unknown)s`.", unknown=min(unknown)))
    if raw.get("type") not in TYPES:
        raise _refuse(where, gettext("`type` is one of: %(types)s.", types=", ".join(TYPES)))
    if raw.get("role", "reviewer") not in Role.values:
        raise _refuse(where, gettext("`role` is one of: %(role)s.", role=", ".join(Role.values)))
    words = {name: _words(f"{where}, {name}", raw.get(name)) for name in ("title", "question", "guidance")}
    options = _options(where, raw)
    doubtful = [str(value) for value in raw.get("doubtful", [])]
    if not set(doubtful) <= set(options):
        raise _refuse(where, gettext("`doubtful` names options of this item."))

    def said(language: str) -> dict[str, Any]:
        told: dict[str, Any] = {name: texts[language] for name, texts in words.items()}
        told["section_title"] = section["title"][language]
        return {**told, "options": {value: text[language] for value, text in options.items()}}

    return {
        "key": key,
        "section": section["key"],
        "type": raw["type"],
        "required": _subset(where, raw.get("required", list(TIERS)), TIERS, "required"),
        "role": raw.get("role", "reviewer"),
        "rests_on": _subset(where, raw.get("rests_on", list(KINDS)), KINDS, "rests_on"),
        "doubtful": doubtful,
        **_shape(where, raw),
        **said("en"),
        "texts": {"vi": said("vi")},
    }


def parse(source: str) -> Template:
    """The template in a YAML text. Raises InvalidInput that names the item and what is wrong with it."""
    if len(source) > MAX_YAML:
        raise _refuse(gettext("The template"), gettext("it is larger than 60,000 characters."))
    try:
        raw = read_yaml("The template", source)
    except BadDocument as error:
        raise _refuse(gettext("The template"), error.message) from error
    if set(raw) != {"slug", "name", "sections"} or not isinstance(raw["sections"], list):
        raise _refuse(gettext("The template"), gettext("it has exactly the fields slug, name and sections."))
    slug = str(raw["slug"])
    if not re.fullmatch(r"[a-z][a-z0-9-]{2,29}", slug):
        raise _refuse(
            gettext("The template"), gettext("`slug` has 3 to 30 small letters, digits and dashes.")
        )
    items: list[dict[str, Any]] = []
    for section in raw["sections"]:
        if not isinstance(section, dict) or not isinstance(section.get("items"), list):
            raise _refuse(gettext("The template"), gettext("a section has key, title and items."))
        head = {
            "key": _key("A section", section.get("key")),
            "title": _words("A section", section.get("title")),
        }
        items += [_item(head, each) for each in section["items"]]
    keys = [item["key"] for item in items]
    if not items or len(items) > MAX_ITEMS or len(set(keys)) != len(keys):
        raise _refuse(
            gettext("The template"),
            gettext("it has 1 to %(max_items)s items, and no key twice.", max_items=MAX_ITEMS),
        )
    return Template(slug, _words(gettext("The template's name"), raw["name"]), items)


@functools.cache
def shipped_source() -> str:
    return SHIPPED.read_text(encoding="utf-8")


@functools.cache
def shipped() -> Template:
    """The seed's Model Card Review: ten sections."""
    return parse(shipped_source())


def title_of(item: dict[str, Any]) -> str:
    """An item's title in the reader's language."""
    return told(str(localised(item, get_language() or "en")["title"]), str(item["title"]))


def localised(item: dict[str, Any], language: str) -> dict[str, Any]:
    """A frozen item with its words in the language; English where an old template has no other."""
    return {**item, **item.get("texts", {}).get(language[:2], {})}


def diff(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What a new version changes, a row a change: {key, what, before, after}."""
    before, after = ({item["key"]: item for item in items} for items in (old, new))
    rows = [
        {"key": key, "what": "removed", "before": before[key]["title"], "after": ""}
        for key in before
        if key not in after
    ]
    for key, item in after.items():
        if key not in before:
            rows.append({"key": key, "what": "added", "before": "", "after": item["title"]})
            continue
        rows += [
            {
                "key": key,
                "what": name,
                "before": _shown(before[key].get(name)),
                "after": _shown(item.get(name)),
            }
            for name in sorted({*item, *before[key]} - {"key"})
            if before[key].get(name) != item.get(name)
        ]
    return rows


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {_shown(each)}" for key, each in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
