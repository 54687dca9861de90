"""The risk tier of a question: from the data the model will see, where it will run and what it does. Pure, and a table.

Everything that grows with risk reads `risk_of`: votes needed (votes.py; in the database quorum.py), the checklist's required
items, how long an approval lasts, policies. What counts is the widest use that an approval would allow: what was asked for,
and every environment with every kind of data that the decision record names besides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal, Protocol

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from reviews.enums import DataClass, Environment

Tier = Literal["low", "medium", "high"]

TIERS: tuple[Tier, ...] = ("low", "medium", "high")
CHOICES = [(name, name.capitalize()) for name in TIERS]

# Rows: environment; columns: data class. What harm a wrong answer can do, before the task is looked at.
TABLE: dict[str, dict[str, Tier]] = {
    Environment.DEVELOPMENT: {
        "public": "low",
        "internal": "low",
        "confidential": "low",
        "personal": "medium",
    },
    Environment.STAGING: {"public": "low", "internal": "low", "confidential": "medium", "personal": "high"},
    Environment.PRODUCTION: {
        "public": "low",
        "internal": "medium",
        "confidential": "high",
        "personal": "high",
    },
}

# Tasks whose answers come from a closed set or are numbers: what they can do wrong can be counted on a golden set.
# Any other task (text, speech, images made up freely), and one that nobody declared, counts one tier higher.
CLOSED_TASKS = frozenset(
    {
        "text-classification", "token-classification", "zero-shot-classification", "fill-mask", "feature-extraction",
        "sentence-similarity", "text-ranking", "question-answering", "table-question-answering", "image-classification",
        "zero-shot-image-classification", "image-feature-extraction", "image-segmentation", "object-detection",
        "depth-estimation", "audio-classification", "video-classification", "tabular-classification",
        "tabular-regression", "time-series-forecasting",
    }
)  # fmt: skip


def tier_of(data_class: str, environment: str, pipeline_tag: str) -> Tier:
    """`low`, `medium` or `high`. What the table does not know counts as high."""
    base = TABLE.get(environment, {}).get(data_class, "high")
    return base if pipeline_tag in CLOSED_TASKS else TIERS[min(TIERS.index(base) + 1, 2)]


class Question(Protocol):
    """What was asked for and what may be used besides: a review request, or an approval."""

    @property
    def environment(self) -> str: ...
    @property
    def data_class(self) -> str: ...
    @property
    def allowed_environments(self) -> Any: ...
    @property
    def data_classes(self) -> Any: ...


@dataclass(frozen=True)
class Risk:
    """The tier that counts, and the use that it comes from; `asked` is the pair (environment, data class) asked for."""

    tier: Tier
    environment: str
    data_class: str
    asked: tuple[str, str]
    task: str

    @property
    def is_widened(self) -> bool:
        """Does the decision record ask for more care than the question alone?"""
        return (self.environment, self.data_class) != self.asked

    @property
    def reason(self) -> str:
        """Why, as sentences in the reader's language."""
        environment, data_class = self.asked
        why = reason_for(data_class, environment, self.task)
        if not self.is_widened:
            return why
        also = gettext("The record also allows %(environment)s with %(data)s.")
        return f"{why} {also % _words(self.data_class, self.environment)}"


def risk_of(asked: Question | None, pipeline_tag: str, environment: str = "") -> Risk:
    """The highest tier over every pair of environment and data class that `asked` allows. Nothing asked counts as high.

    `environment`: as if it were asked for that one alone.
    """
    first = (environment or (asked.environment if asked else ""), asked.data_class if asked else "")
    where: Sequence[str] = asked.allowed_environments if asked and not environment else ()
    data: Sequence[str] = asked.data_classes if asked else ()
    pairs = [first, *product([first[0], *where], [first[1], *data])]
    top = max(TIERS.index(tier_of(d, e, pipeline_tag)) for e, d in pairs)
    highest = [(e, d) for e, d in pairs if tier_of(d, e, pipeline_tag) == TIERS[top]]
    counts = first if first in highest else max(highest, key=_reach)
    return Risk(TIERS[top], *counts, asked=first, task=pipeline_tag)


def widest_of(asked: Question | None, environment: str = "") -> tuple[str, str]:
    """(environment, data class): of what is asked for and allowed, the nearest to production and the most sensitive.

    For conditions that name one of them: a record that allows production besides must not pass as staging.
    """
    where = [environment or (asked.environment if asked else "production")]
    where += asked.allowed_environments if asked and not environment else []
    data = [asked.data_class, *asked.data_classes] if asked else [""]
    return max(where, key=_rank(Environment.values)), max(data, key=_rank(DataClass.values))


def _rank(words: list[str]) -> Callable[[str], int]:
    return lambda word: words.index(word) if word in words else -1


def _reach(pair: tuple[str, str]) -> tuple[int, int]:
    """Of several uses of one tier the widest is named; a word that nobody knows before all others."""
    environments, classes = Environment.values, DataClass.values
    return tuple(  # type: ignore[return-value]
        words.index(word) if word in words else len(words)
        for word, words in zip(pair, (environments, classes), strict=True)
    )


_DATA = {
    "public": _("Public data"), "internal": _("Internal data"), "confidential": _("Confidential data"),
    "personal": _("Personal data"),
}  # fmt: skip


def _words(data_class: str, environment: str) -> dict[str, str]:
    """A pair in the middle of a sentence."""
    environments = {str(value): str(label) for value, label in Environment.choices}
    return {
        "data": str(_DATA.get(data_class, _("Unknown data"))).lower(),
        "environment": environments.get(environment, gettext("Unknown")).lower(),
    }


def reason_for(data_class: str, environment: str, pipeline_tag: str) -> str:
    """The same as a sentence in the reader's language, for whoever asks why."""
    told = {
        **_words(data_class, environment),
        "data": _DATA.get(data_class, _("Unknown data")),
        "task": pipeline_tag,
    }
    if pipeline_tag in CLOSED_TASKS:
        return gettext("%(data)s in %(environment)s; %(task)s answers from a closed set.") % told
    if pipeline_tag:
        return (
            gettext("%(data)s in %(environment)s; %(task)s answers freely, which counts one tier higher.")
            % told
        )
    return gettext("%(data)s in %(environment)s; no task is declared, which counts one tier higher.") % told
