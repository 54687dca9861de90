"""The values that go in and out of the engine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

_MODEL_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_COMMIT_SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class ClassifierConfig:
    """Which snapshot to load and how to cut its inputs.

    `snapshot` is a local folder; nothing is ever fetched. `max_length` is in tokens, special tokens
    included; the model's own limit lowers it. `batch_size` is the most texts in one forward pass of
    `TextClassifier`. `task` is the Hub's pipeline tag; empty takes what the architecture's head does.
    `backend` "auto" takes the packed one for a known architecture whose canary agrees with the reference,
    else the reference. `precision` other than fp32 is a choice somebody made for this revision. `digest`
    names the content (the manifest's sha256) and `canaries` the folder that keeps reference answers by it;
    without them the reference is computed at each load. `layout` is how the processes of a CPU share its cores
    (`spawn.lanes_for`). Raises ValueError for a model_id, a commit_sha (40
    lower-case hex: never a branch name) or a size that is none.
    """

    snapshot: Path
    model_id: str
    commit_sha: str
    max_length: int = 128
    batch_size: int = 16
    task: str = ""
    backend: Literal["auto", "packed", "reference"] = "auto"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    digest: str = ""
    canaries: Path | None = None
    layout: Literal["", "adaptive", "latency", "throughput"] = ""

    def __post_init__(self) -> None:
        if not _MODEL_ID.fullmatch(self.model_id):
            raise ValueError("model_id must look like org/name.")
        if not _COMMIT_SHA.fullmatch(self.commit_sha):
            raise ValueError(
                "commit_sha must be 40 lower-case hex digits: a model is never loaded by branch or tag."
            )
        if self.max_length < 8:
            raise ValueError("max_length must be at least 8 tokens.")
        if self.batch_size < 1:
            raise ValueError("batch_size must be at least 1.")


class LabelScore(NamedTuple):
    """One label with its probability, 0.0 to 1.0."""

    label: str
    confidence: float


class Prediction(NamedTuple):
    """The answer for one text.

    `token_count` counts what the model saw, special tokens included; `truncated` tells that the text was
    longer. `scores` (most probable first) is there only when it was asked for.
    """

    label: str
    confidence: float
    token_count: int
    truncated: bool
    scores: tuple[LabelScore, ...] | None = None


@dataclass(frozen=True)
class Entity:
    """A stretch of the text with its label. `start` and `end` count characters of the caller's text."""

    label: str
    confidence: float
    word: str
    start: int
    end: int


@dataclass(frozen=True)
class Entities:
    """What a token classifier found in one text, in its order."""

    entities: tuple[Entity, ...]
    token_count: int
    truncated: bool


@dataclass(frozen=True)
class Embedding:
    """The vector of one text."""

    vector: tuple[float, ...]
    token_count: int
    truncated: bool


@dataclass(frozen=True)
class Score:
    """One number: the relevance of a pair, or the similarity of a text to the source."""

    score: float
    token_count: int
    truncated: bool


Result = Prediction | Entities | Embedding | Score


@dataclass(frozen=True)
class Variant:
    """What computed an answer: the backend, its precision and the device. Recorded, never silently another."""

    backend: str
    dtype: str
    device: str

    @cached_property
    def _name(self) -> str:
        return f"{self.backend}/{self.dtype}/{self.device}"

    def __str__(self) -> str:
        return self._name


@dataclass(frozen=True)
class BatchResult:
    """The answers for a list of texts, in its order, with the revision that gave them and the time it took
    (ms)."""

    predictions: list[Prediction]
    model_id: str
    commit_sha: str
    device: str
    latency_ms: float
    tokenization_ms: float
    inference_ms: float


class Answer(NamedTuple):
    """What a queued request gets back: results in the order of its inputs, and its stages in ms."""

    results: tuple[Result, ...]
    variant: Variant
    tokenization_ms: float
    queue_ms: float
    inference_ms: float

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """The results of a `Classify` request."""
        return tuple(result for result in self.results if isinstance(result, Prediction))


@dataclass(frozen=True)
class EngineLimits:
    """How much one engine takes on.

    `max_queued_inputs`: texts admitted whose forward pass has not begun. `max_wait_s`: a request that
    waited longer is told to come back. `max_rows`: texts in one forward pass; None takes what suits the backend
    (a packed one is bounded by its tokens alone). `token_budget`: tokens in one
    forward pass (with a padding backend, padding included); None takes what suits the backend.
    """

    max_queued_inputs: int = 64
    max_wait_s: float = 2.0
    max_rows: int | None = None
    token_budget: int | None = None
