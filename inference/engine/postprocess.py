"""Logits to labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.engine.backend import Encoding
from inference.engine.errors import InferenceOutputError
from inference.engine.types import LabelScore, Prediction


def check_shape(logits: NDArray[np.float32], rows: int, labels: Sequence[str]) -> None:
    """Raise InferenceOutputError unless there is one row for each text and one column for each label."""
    if logits.shape != (rows, len(labels)):
        raise InferenceOutputError(
            f"The model answered with shape {logits.shape}, not ({rows}, {len(labels)})."
        )


def probabilities(row: NDArray[np.float32]) -> NDArray[np.float64]:
    """Softmax of one row of logits, shape (labels,). Raises InferenceOutputError for NaN or Inf: never a
    label."""
    if not np.isfinite(row).all():
        raise InferenceOutputError("The model answered with NaN or infinity, which is no label.")
    shifted = np.exp(row.astype(np.float64) - float(row.max()))
    result: NDArray[np.float64] = shifted / shifted.sum()
    return result


def to_prediction(
    row: NDArray[np.float32], encoding: Encoding, labels: Sequence[str], top_k: int | None
) -> Prediction:
    """The prediction for one row of logits, confidences to six digits. Raises as `probabilities`."""
    chances = probabilities(row)
    # A stable sort of the negated values: of two equal labels the first wins, as argmax would have it.
    order = np.argsort(-chances, kind="stable")
    best = int(order[0])
    scores = None
    if top_k is not None:
        scores = tuple(LabelScore(labels[int(i)], round(float(chances[i]), 6)) for i in order[:top_k])
    return Prediction(
        label=labels[best],
        confidence=round(float(chances[best]), 6),
        token_count=len(encoding),
        truncated=encoding.truncated,
        scores=scores,
    )
