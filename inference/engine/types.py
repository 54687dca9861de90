"""The values that go in and out of the engine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_MODEL_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_COMMIT_SHA = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class ClassifierConfig:
    """Which snapshot to load and how to cut its inputs.

    `snapshot` is a local folder; nothing is ever fetched. `max_length` is in tokens, special tokens
    included; the model's own limit lowers it. `batch_size` is the most texts in one forward pass of
    `TextClassifier`. Raises ValueError for a model_id, a commit_sha (40 lower-case hex: never a branch
    name) or a size that is none.
    """

    snapshot: Path
    model_id: str
    commit_sha: str
    max_length: int = 128
    batch_size: int = 16

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


@dataclass(frozen=True)
class LabelScore:
    """One label with its probability, 0.0 to 1.0."""

    label: str
    confidence: float


@dataclass(frozen=True)
class Prediction:
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


@dataclass(frozen=True)
class Answer:
    """What a queued request gets back: predictions in the order of its texts, and its stages in ms."""

    predictions: tuple[Prediction, ...]
    tokenization_ms: float
    queue_ms: float
    inference_ms: float


@dataclass(frozen=True)
class EngineLimits:
    """How much one engine takes on.

    `max_queued_inputs`: texts admitted whose forward pass has not begun. `max_wait_s`: a request that
    waited longer is told to come back. `max_rows`: texts in one forward pass. `token_budget`: tokens in one
    forward pass, padding included; None takes what suits the backend's device.
    """

    max_queued_inputs: int = 64
    max_wait_s: float = 2.0
    max_rows: int = 64
    token_budget: int | None = None
