"""What may be asked of a model, what comes back, and which question fits which head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inference.engine.errors import InferenceInputError

# One input: a text, or a pair of texts (premise and hypothesis, query and passage).
Input = str | tuple[str, str]

Aggregation = Literal["none", "simple", "first", "average", "max"]
HeadKind = Literal["classify", "tag", "embed"]
AGGREGATIONS: tuple[Aggregation, ...] = ("none", "simple", "first", "average", "max")


@dataclass(frozen=True)
class Classify:
    """Labels for each input. `top_k` adds the scores; `activation` replaces the one that the model
    declares (softmax for one label of many, sigmoid for several labels at once)."""

    top_k: int | None = None
    activation: Literal["softmax", "sigmoid"] | None = None


@dataclass(frozen=True)
class Tag:
    """Entities with character offsets; strategies as the token classification pipeline of transformers has
    them. What `ignore_labels` names is left out."""

    aggregation: Aggregation = "simple"
    ignore_labels: tuple[str, ...] = ("O",)


@dataclass(frozen=True)
class Embed:
    """One vector for each input, pooled as the revision declares. `normalise` None: as declared too."""

    normalise: bool | None = None


@dataclass(frozen=True)
class Compare:
    """Cosine similarity of the first input to each of the others: one result fewer than inputs."""


@dataclass(frozen=True)
class Rank:
    """How well the second text of each pair answers the first. `raw` gives the logit instead of 0..1."""

    raw: bool = False


@dataclass(frozen=True)
class Entail:
    """Zero-shot: inputs are (text, hypothesis) pairs, one a candidate, for a model of natural-language
    inference. The scores are how likely each candidate is among all of them (they sum to 1), or with
    `multi_label` each against its contradiction alone."""

    multi_label: bool = False


Options = Classify | Tag | Embed | Compare | Rank | Entail


@dataclass(frozen=True)
class Head:
    """What the end of a model is: one row of logits a text, one a token, or a vector a text.

    `activation` turns logits into scores; `pooling` and `normalise` make a vector; `size` is the number of
    labels or of the vector's places.
    """

    kind: HeadKind = "classify"
    activation: Literal["softmax", "sigmoid"] = "softmax"
    pooling: Literal["cls", "mean"] = "mean"
    normalise: bool = False
    size: int = 0


_FITS: dict[HeadKind, tuple[type, ...]] = {
    "classify": (Classify, Rank, Entail),
    "tag": (Tag,),
    "embed": (Embed, Compare),
}
_TASKS: dict[str, HeadKind] = {
    "text-classification": "classify",
    "sentiment-analysis": "classify",
    "zero-shot-classification": "classify",
    "text-ranking": "classify",
    "token-classification": "tag",
    "feature-extraction": "embed",
    "sentence-similarity": "embed",
}
TASKS = tuple(_TASKS)


def head_kind(task: str) -> HeadKind | None:
    """The head that a Hub task (pipeline tag) needs; None for a task that is not served."""
    return _TASKS.get(task)


def check_options(options: Options, head: Head, inputs: int) -> None:
    """Raise InferenceInputError unless the model can answer that: wrong_task, bad_top_k, bad_aggregation,
    too_few_inputs."""
    if not isinstance(options, _FITS[head.kind]):
        raise InferenceInputError(
            f"This model cannot {_VERBS[type(options)]}; it can {_ABILITIES[head.kind]}.", code="wrong_task"
        )
    if isinstance(options, Classify) and options.top_k is not None and not 1 <= options.top_k <= 100:
        raise InferenceInputError("top_k must be between 1 and 100.", code="bad_top_k")
    if isinstance(options, Tag) and options.aggregation not in AGGREGATIONS:
        raise InferenceInputError(
            f"The aggregation strategy must be one of {', '.join(AGGREGATIONS)}.", code="bad_aggregation"
        )
    if isinstance(options, Compare) and inputs < 2:
        raise InferenceInputError("A comparison needs a source and a text.", code="too_few_inputs")
    if isinstance(options, Rank) and head.size > 2:
        raise InferenceInputError(
            f"A model with {head.size} labels gives no single relevance.", code="wrong_task"
        )


_VERBS: dict[type, str] = {
    Classify: "classify texts",
    Tag: "label tokens",
    Embed: "embed texts",
    Compare: "compare texts",
    Rank: "rank texts",
    Entail: "judge hypotheses",
}
_ABILITIES: dict[HeadKind, str] = {
    "classify": "classify or rank texts",
    "tag": "label tokens",
    "embed": "embed or compare texts",
}
