"""The risk tier of a question: from the data the model will see, where it will run and what it does. Pure, and a table.

Everything that grows with risk reads it from here: votes needed (votes.py), the checklist's required items, policies.
"""

from __future__ import annotations

from typing import Literal

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from reviews.enums import Environment

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


_DATA = {
    "public": _("Public data"), "internal": _("Internal data"), "confidential": _("Confidential data"),
    "personal": _("Personal data"),
}  # fmt: skip


def reason_for(data_class: str, environment: str, pipeline_tag: str) -> str:
    """The same as a sentence in the reader's language, for whoever asks why."""
    environments = {str(value): str(label) for value, label in Environment.choices}
    told = {
        "data": _DATA.get(data_class, _("Unknown data")),
        "environment": environments.get(environment, gettext("Unknown")).lower(),
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
