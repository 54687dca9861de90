"""The risk tier of a question: from the data the model will see, where it will run and what it does. Pure, and a table.

Everything that grows with risk reads it from here: votes needed (votes.py), the checklist's required items, policies.
"""

from __future__ import annotations

from typing import Literal, cast

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


def reason_for(data_class: str, environment: str, pipeline_tag: str) -> str:
    """The same as a sentence, for whoever asks why."""
    data = _label(DataClass, data_class)
    sentence = f"{data} data in {_label(Environment, environment).lower()}"
    if pipeline_tag in CLOSED_TASKS:
        return f"{sentence}; {pipeline_tag} answers from a closed set."
    if pipeline_tag:
        return f"{sentence}; {pipeline_tag} answers freely, which counts one tier higher."
    return f"{sentence}; no task is declared, which counts one tier higher."


def _label(choices: type[DataClass] | type[Environment], value: str) -> str:
    known = cast("dict[str, str]", dict(choices.choices))
    return str(known.get(value, "Unknown")).replace(" data", "")
