"""Numbers to answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inference.engine.backend import Encoding, Numbers
from inference.engine.errors import InferenceInputError, InferenceOutputError
from inference.engine.tagging import find_entities
from inference.engine.tasks import Classify, Compare, Embed, Entail, Head, Options, Rank, Tag
from inference.engine.types import Embedding, LabelScore, Prediction, Result, Score

# So few numbers are made probabilities sooner one by one than by as many calls of numpy.
_FEW = 16
# The exponential of more than its opposite is beyond a double.
_LEAST_EXPONENT = -700.0


class Known(Protocol):
    """What must be known of a model to read its numbers."""

    @property
    def labels(self) -> tuple[str, ...]: ...

    @property
    def head(self) -> Head: ...

    def join(self, words: Sequence[str]) -> str: ...


def check_shapes(rows: Numbers, batch: Sequence[Encoding], head: Head) -> None:
    """Raise InferenceOutputError unless there is one array for each encoding, of the shape the head has."""
    if len(rows) != len(batch):
        raise InferenceOutputError(
            f"The model answered with shape ({len(rows)}, ...), not {len(batch)} rows."
        )
    for row, encoding in zip(rows, batch, strict=True):
        wanted = (len(encoding), head.size) if head.kind == "tag" else (head.size,)
        if row.shape != wanted:
            raise InferenceOutputError(f"The model answered with shape {row.shape}, not {wanted}.")


def check_finite(row: NDArray[np.float32]) -> None:
    """Raise InferenceOutputError for NaN or Inf: never a label."""
    if not np.isfinite(row).all():
        raise _no_label()


def _no_label() -> InferenceOutputError:
    return InferenceOutputError("The model answered with NaN or infinity, which is no label.")


def probabilities(row: NDArray[np.float32], activation: str = "softmax") -> NDArray[np.float64]:
    """Softmax or sigmoid over the last axis of logits. Raises InferenceOutputError for NaN or Inf."""
    check_finite(row)
    wide = row.astype(np.float64)
    if activation == "sigmoid":
        with np.errstate(over="ignore"):
            sigmoid: NDArray[np.float64] = 1 / (1 + np.exp(-wide))
        return sigmoid
    shifted = np.exp(wide - wide.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = shifted / shifted.sum(axis=-1, keepdims=True)
    return result


def to_prediction(
    row: NDArray[np.float32],
    encoding: Encoding,
    labels: Sequence[str],
    top_k: int | None,
    activation: str = "softmax",
) -> Prediction:
    """The prediction for one row of logits, confidences to six digits. Raises as `probabilities`."""
    return to_predictions(row[np.newaxis], [encoding], labels, top_k, activation)[0]


def to_predictions(
    rows: Numbers,
    encodings: Sequence[Encoding],
    labels: Sequence[str],
    top_k: int | None,
    activation: str = "softmax",
) -> list[Prediction]:
    """One prediction for each row of logits (inputs, labels), all at once. Raises as `probabilities`."""
    if len(encodings) * len(labels) <= _FEW:
        return [
            _predict(_few_probabilities(row.tolist(), activation), encoding, labels, top_k)
            for row, encoding in zip(rows, encodings, strict=True)
        ]
    chances = probabilities(np.asarray(rows), activation)
    # A stable sort of the negated values: of two equal labels the first wins, as argmax has it.
    order = (
        chances.argmax(axis=1)[:, np.newaxis]
        if top_k is None
        else np.argsort(-chances, axis=1, kind="stable")[:, :top_k]
    )
    best = np.take_along_axis(chances, order, axis=1).tolist()
    return [
        _prediction(encoding, labels, places, values, top_k)
        for encoding, places, values in zip(encodings, order.tolist(), best, strict=True)
    ]


def _few_probabilities(row: list[float], activation: str) -> list[float]:
    """As `probabilities`, of one short row."""
    if not all(map(math.isfinite, row)):
        raise _no_label()
    if activation == "sigmoid":
        return [1 / (1 + math.exp(-x)) if x > _LEAST_EXPONENT else 0.0 for x in row]
    most = max(row)
    shifted = [math.exp(x - most) for x in row]
    whole = sum(shifted)
    return [x / whole for x in shifted]


def _predict(
    chances: list[float], encoding: Encoding, labels: Sequence[str], top_k: int | None
) -> Prediction:
    # Of two equal labels the first wins, as argmax has it; the sort is stable.
    if top_k is None:
        best = max(chances)
        return Prediction(labels[chances.index(best)], round(best, 6), len(encoding), encoding.truncated)
    places = sorted(range(len(chances)), key=lambda i: -chances[i])[:top_k]
    return _prediction(encoding, labels, places, [chances[i] for i in places], top_k)


def _prediction(
    encoding: Encoding, labels: Sequence[str], places: list[int], values: list[float], top_k: int | None
) -> Prediction:
    """`places` of the most probable labels, best first, with their probabilities."""
    scores = None
    if top_k is not None:
        scores = tuple(
            LabelScore(labels[i], round(value, 6)) for i, value in zip(places, values, strict=True)
        )
    return Prediction(labels[places[0]], round(values[0], 6), len(encoding), encoding.truncated, scores)


def to_vector(row: NDArray[np.float32], *, normalise: bool) -> NDArray[np.float32]:
    """The vector, of length 1 when asked. Raises InferenceOutputError for NaN or Inf."""
    check_finite(row)
    if not normalise:
        return row
    length = float(np.linalg.norm(row.astype(np.float64)))
    vector: NDArray[np.float32] = (row / max(length, 1e-12)).astype(np.float32)
    return vector


def to_score(row: NDArray[np.float32], head: Head, *, raw: bool) -> float:
    """A cross-encoder's answer: its logit, or that made 0..1 (of two labels, the second one's chance)."""
    if len(row) == 2:
        return float(row[1] - row[0]) if raw else float(probabilities(row)[1])
    check_finite(row)
    return float(row[0]) if raw else float(probabilities(row, "sigmoid")[0])


def check_labels(options: Options, labels: Sequence[str]) -> None:
    """Raise InferenceInputError (wrong_task) for a question whose answer needs other labels."""
    if isinstance(options, Entail):
        _inference_labels(labels)


def read_results(
    options: Options, known: Known, rows: Numbers, encodings: Sequence[Encoding]
) -> tuple[Result, ...]:
    """What a request gets for its inputs' numbers. Raises InferenceOutputError for NaN or Inf."""
    head, labels = known.head, known.labels
    if isinstance(options, Classify):
        return tuple(
            to_predictions(rows, encodings, labels, options.top_k, options.activation or head.activation)
        )
    pairs = zip(rows, encodings, strict=True)
    match options:
        case Tag():
            return tuple(
                find_entities(probabilities(row), e, labels, options, known.join) for row, e in pairs
            )
        case Rank(raw):
            return tuple(
                Score(round(to_score(row, head, raw=raw), 6), len(e), e.truncated) for row, e in pairs
            )
        case Entail(multi_label):
            return _entailment(
                np.asarray(rows)[:, _inference_labels(labels)], encodings, multi_label=multi_label
            )
        case Embed(wanted):
            normalise = head.normalise if wanted is None else wanted
            return tuple(
                Embedding(tuple(to_vector(row, normalise=normalise).tolist()), len(e), e.truncated)
                for row, e in pairs
            )
        case Compare():
            vectors = np.asarray([to_vector(row, normalise=True) for row in rows], np.float64)
            # One after the other, as ever: a matrix product may add up in another order.
            return tuple(
                Score(round(float(vectors[0] @ other), 6), len(e), e.truncated)
                for other, e in zip(vectors[1:], encodings[1:], strict=True)
            )


def _entailment(
    logits: NDArray[np.float32], encodings: Sequence[Encoding], *, multi_label: bool
) -> tuple[Score, ...]:
    """Scores from each candidate's logits of (contradiction, entailment)."""
    chances = probabilities(logits)[:, 1] if multi_label else probabilities(logits[:, 1])
    return tuple(
        Score(round(float(chance), 6), len(e), e.truncated)
        for chance, e in zip(chances, encodings, strict=True)
    )


def _inference_labels(labels: Sequence[str]) -> list[int]:
    """Where contradiction and entailment stand. Raises InferenceInputError for another kind of model."""
    found = {label.lower()[:6]: index for index, label in enumerate(labels)}
    if "entail" not in found or "contra" not in found:
        raise InferenceInputError(
            "Zero-shot needs a model of natural-language inference, with the labels entailment and "
            "contradiction.",
            code="wrong_task",
        )
    return [found["contra"], found["entail"]]
