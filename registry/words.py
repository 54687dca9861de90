"""Sentences in the reader's language, which remember how they read in English.

Pages and answers speak the language that the request asked for. What is kept (audit events, the access chain, requests,
jobs) must read the same whoever was looking, so it is written in English: docs/adr/0012-two-languages.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils import translation
from django.utils.functional import Promise


class Told(str):
    """A sentence in the language that was asked for; `english` is what may be stored of it."""

    english: str


def english(words: Any) -> Any:
    """What may be stored of a value: of a sentence its English, of lists and dictionaries that of what is in them."""
    if isinstance(words, Told):
        return words.english
    if isinstance(words, Promise):
        with translation.override("en"):
            return str(words)
    if isinstance(words, dict):
        return {key: english(value) for key, value in words.items()}
    if isinstance(words, list | tuple):
        return [english(value) for value in words]
    return words


def told(words: str, in_english: str) -> str:
    """Words that have no entry in the catalogue, because they come in both languages already."""
    made = Told(words)
    made.english = in_english
    return made


def gettext(text: str, /, **filled: object) -> str:
    """Django's `gettext`, with the names in `text` (`%(name)s`) filled in. What is filled in may be Told or lazy itself."""
    if not filled:
        return told(translation.gettext(text) if text else "", text)
    return told(translation.gettext(text) % filled, text % {name: english(v) for name, v in filled.items()})


def ngettext(one: str, many: str, number: int, /, **filled: object) -> str:
    """Django's `ngettext`; `number` fills in `%(n)s`."""
    filled = {"n": number, **filled}
    return told(
        translation.ngettext(one, many, number) % filled,
        (one if number == 1 else many) % {name: english(v) for name, v in filled.items()},
    )


def joined(parts: Iterable[str], between: str = " ") -> str:
    """`between.join(parts)`, of parts that are Told or not."""
    found = list(parts)
    return told(
        str(between).join(map(str, found)), str(english(between)).join(str(english(part)) for part in found)
    )


def either(words: Iterable[str]) -> str:
    """Words with an "or" between them."""
    return joined(words, gettext(" or "))


def both(words: Iterable[str]) -> str:
    """Words with an "and" between them."""
    return joined(words, gettext(" and "))


def lowered(label: object) -> str:
    """An enumeration's label inside a sentence."""
    return told(str(label).lower(), str(english(label)).lower())
