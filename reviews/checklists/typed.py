"""The typed value of an answer: read from what a person or a program sends, checked, and said in words."""

from __future__ import annotations

import math
import re
from typing import Any

from django.utils.translation import get_language

from registry.exceptions import InvalidInput
from registry.words import gettext, joined
from reviews.checklists.template import localised, title_of
from reviews.enums import Verdict

MAX_TEXT = 4000
_RUN = re.compile(r"\Arun[ :#]*(\d{1,18})\Z", re.IGNORECASE)
_ADDRESS = re.compile(r"\Ahttps://[^\s/$.?#][^\s]{1,490}\Z")


def _refuse(item: dict[str, Any], what: str, code: str) -> InvalidInput:
    return InvalidInput(joined([title_of(item), what], ": "), code=code, field=item["key"])


def _number(item: dict[str, Any], raw: Any) -> int | float:
    try:
        value = float(raw) if not isinstance(raw, bool) else math.nan
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value) or not item["min"] <= value <= item["max"]:
        bounds = gettext("%(low)s to %(high)s", low=f"{item['min']:g}", high=f"{item['max']:g}")
        raise _refuse(
            item,
            gettext("give a number from %(bounds)s (%(unit)s).", bounds=bounds, unit=item["unit"]),
            "bad_value",
        )
    return int(value) if value == int(value) else value


def _option(item: dict[str, Any], raw: Any) -> str:
    if not isinstance(raw, str) or raw not in item["options"]:
        raise _refuse(
            item,
            gettext(
                "choose one of %(known)s.",
                known=", ".join(localised(item, get_language() or "en")["options"].values()),
            ),
            "bad_value",
        )
    return raw


def _link(item: dict[str, Any], raw: Any) -> str:
    text = str(raw).strip()
    if run := _RUN.match(text):
        return f"run {int(run.group(1))}"
    if _ADDRESS.match(text):
        return text
    raise _refuse(item, gettext("give a run (run 12) or an https:// address."), "bad_value")


_READERS = {"number": _number, "choice": _option, "yesno": _option, "link": _link}


def check_answer_fields(item: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """{"verdict", "value", "text"}, checked against the item's type. Raises InvalidInput with the item's title.

    “The card does not say” needs no value: that is the answer. Every other verdict needs one, and a doubt needs words.
    """
    verdict, text, raw = given.get("verdict", ""), str(given.get("text") or "").strip(), given.get("value")
    if verdict not in Verdict.values:
        raise _refuse(
            item, gettext("choose one of %(known)s.", known=", ".join(Verdict.values)), "bad_verdict"
        )
    if len(text) > MAX_TEXT:
        raise _refuse(item, gettext("an answer has at most 4,000 characters."), "too_long")
    if verdict == Verdict.CONCERN and not text:
        raise _refuse(item, gettext("say what the concern is."), "concern_without_words")
    empty = raw is None or raw == ""
    if verdict == Verdict.NOT_STATED:
        if not empty:
            raise _refuse(
                item,
                gettext("“The card does not say” has no value. Take it out, or choose another answer."),
                "bad_value",
            )
        return {"verdict": verdict, "value": None, "text": text}
    if item["type"] == "text":
        if not empty:
            raise _refuse(item, gettext("it is answered in words; it has no value."), "bad_value")
        if not text:
            raise _refuse(item, gettext("write the answer, or choose “The card does not say”."), "no_words")
        return {"verdict": verdict, "value": None, "text": text}
    if empty:
        raise _refuse(item, gettext("the answer itself is missing."), "no_value")
    return {"verdict": verdict, "value": _READERS[item["type"]](item, raw), "text": text}


def shown_value(item: dict[str, Any], value: Any, language: str = "en") -> str:
    """A value as a person reads it: “Needs legal review”, “128 tokens”, “run 12”."""
    if value is None or value == "":
        return ""
    if item["type"] in ("choice", "yesno"):
        return str(localised(item, language).get("options", {}).get(value, value))
    if item["type"] == "number":
        number = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
        return f"{number} {item['unit']}"
    return str(value)


def is_doubt(item: dict[str, Any], verdict: str, value: Any, tier: str) -> bool:
    """Does this answer ask for conditions? A concern always; silence where an answer is required; a doubtful option."""
    if verdict == Verdict.CONCERN:
        return True
    if verdict == Verdict.NOT_STATED:
        return tier in item.get("required", [tier])
    return value in item.get("doubtful", [])
