"""Numbers to answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inference.engine.backend import Encoding, Numbers
from inference.engine.errors import InferenceInputError, InferenceOutputError
from inference.engine.tagging import find_entities
from inference.engine.tasks import Classify, Compare, Embed, Entail, Head, Options, Rank, Tag
from inference.engine.types import Embedding, LabelScore, Prediction, Result, Score

ToResult = Callable[[NDArray[np.float32], Encoding], Result]
ToResults = Callable[[NDArray[np.float32], Sequence[Encoding]], Sequence[Result]]


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
        raise InferenceOutputError("The model answered with NaN or infinity, which is no label.")


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
    table: NDArray[np.float32],
    encodings: Sequence[Encoding],
    labels: Sequence[str],
    top_k: int | None,
    activation: str = "softmax",
) -> list[Prediction]:
    """One prediction for each row of logits (inputs, labels), all at once. Raises as `probabilities`."""
    chances = probabilities(table, activation)
    # A stable sort of the negated values: of two equal labels the first wins, as argmax has it.
    order = (
        chances.argmax(axis=1)[:, np.newaxis]
        if top_k is None
        else np.argsort(-chances, axis=1, kind="stable")[:, :top_k]
    )
    best = np.take_along_axis(chances, order, axis=1).tolist()
    made = []
    for encoding, places, values in zip(encodings, order.tolist(), best, strict=True):
        scores = None
        if top_k is not None:
            scores = tuple(
                LabelScore(labels[i], round(value, 6)) for i, value in zip(places, values, strict=True)
            )
        made.append(
            Prediction(
                label=labels[places[0]],
                confidence=round(values[0], 6),
                token_count=len(encoding),
                truncated=encoding.truncated,
                scores=scores,
            )
        )
    return made


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


def row_finisher(options: Options, backend: Known) -> ToResult:
    """How one input's numbers become its result."""
    head, labels = backend.head, backend.labels
    match options:
        case Classify(top_k, activation):
            chosen = activation or head.activation
            return lambda row, encoding: to_prediction(row, encoding, labels, top_k, chosen)
        case Tag():
            return lambda row, encoding: find_entities(
                probabilities(row), encoding, labels, options, backend.join
            )
        case Rank(raw):
            return lambda row, encoding: Score(
                round(to_score(row, head, raw=raw), 6), len(encoding), encoding.truncated
            )
        case Entail():
            against, for_ = _inference_labels(labels)
            return lambda row, encoding: Embedding(
                (float(_checked(row)[against]), float(row[for_])), len(encoding), encoding.truncated
            )
        case Embed(wanted):
            normalise = head.normalise if wanted is None else wanted
        case Compare():
            normalise = True
    return lambda row, encoding: Embedding(
        tuple(to_vector(row, normalise=normalise).tolist()), len(encoding), encoding.truncated
    )


def table_finisher(options: Options, known: Known) -> ToResults | None:
    """As `row_finisher`, for all inputs of a request at once, where that saves time; else None."""
    if not isinstance(options, Classify):
        return None
    labels, top_k, chosen = known.labels, options.top_k, options.activation or known.head.activation
    return lambda table, encodings: to_predictions(table, encodings, labels, top_k, chosen)


def finish(options: Options, results: Sequence[Result]) -> tuple[Result, ...]:
    """What the request gets: the rows' results, or for a comparison the similarities to the first one."""
    if not isinstance(options, Compare | Entail):
        return tuple(results)
    vectors = [result for result in results if isinstance(result, Embedding)]
    if isinstance(options, Entail):
        return _entailment(vectors, multi_label=options.multi_label)
    source = np.array(vectors[0].vector)
    return tuple(
        Score(round(float(source @ np.array(other.vector)), 6), other.token_count, other.truncated)
        for other in vectors[1:]
    )


def _entailment(logits: Sequence[Embedding], *, multi_label: bool) -> tuple[Score, ...]:
    """Scores from each candidate's logits of (contradiction, entailment)."""
    table = np.array([one.vector for one in logits], dtype=np.float32)
    chances = probabilities(table)[:, 1] if multi_label else probabilities(table[:, 1])
    return tuple(
        Score(round(float(chance), 6), one.token_count, one.truncated)
        for chance, one in zip(chances, logits, strict=True)
    )


def _inference_labels(labels: Sequence[str]) -> tuple[int, int]:
    """Where contradiction and entailment stand. Raises InferenceInputError for another kind of model."""
    found = {label.lower()[:6]: index for index, label in enumerate(labels)}
    if "entail" not in found or "contra" not in found:
        raise InferenceInputError(
            "Zero-shot needs a model of natural-language inference, with the labels entailment and "
            "contradiction.",
            code="wrong_task",
        )
    return found["contra"], found["entail"]


def _checked(row: NDArray[np.float32]) -> NDArray[np.float32]:
    check_finite(row)
    return row
