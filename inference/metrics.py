"""Quality of a classifier on a golden set, from the references and the predictions. Pure functions.

Rows of a confusion matrix are references, columns are predictions, both in the order of `labels`.
A ratio whose denominator is zero is 0.0 (a class that was never predicted has precision 0.0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ClassScores:
    """Quality for one label. `support` = references with it, `predicted` = predictions with it."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    predicted: int


def confusion_matrix(
    references: Sequence[str], predictions: Sequence[str], labels: Sequence[str]
) -> list[list[int]]:
    """Counts, shape (labels, labels).

    Raises ValueError when the sequences are empty or differ in length, when `labels` repeats one, or when a
    reference or prediction is not among `labels`.
    """
    if not references:
        raise ValueError("There is nothing to compare: no references.")
    if len(references) != len(predictions):
        raise ValueError(f"{len(references)} references do not match {len(predictions)} predictions.")
    index = {label: position for position, label in enumerate(labels)}
    if len(index) != len(labels):
        raise ValueError("A label is listed twice.")
    unknown = sorted({*references, *predictions} - index.keys())
    if unknown:
        raise ValueError(f"Not among the labels {list(labels)}: {unknown}.")
    matrix = [[0] * len(labels) for _ in labels]
    for reference, prediction in zip(references, predictions, strict=True):
        matrix[index[reference]][index[prediction]] += 1
    return matrix


def accuracy(references: Sequence[str], predictions: Sequence[str]) -> float:
    """Share of predictions that equal their reference, 0.0 to 1.0. Raises as `confusion_matrix`."""
    matrix = confusion_matrix(references, predictions, sorted({*references, *predictions}))
    return sum(matrix[i][i] for i in range(len(matrix))) / len(references)


def per_class(
    references: Sequence[str], predictions: Sequence[str], labels: Sequence[str]
) -> list[ClassScores]:
    """Precision, recall and F1 of each label, in the order of `labels`. Raises as `confusion_matrix`."""
    matrix = confusion_matrix(references, predictions, labels)
    scores = []
    for i, label in enumerate(labels):
        hits, support = matrix[i][i], sum(matrix[i])
        predicted = sum(row[i] for row in matrix)
        scores.append(
            ClassScores(
                label=label,
                precision=_ratio(hits, predicted),
                recall=_ratio(hits, support),
                # 2PR/(P+R) written in counts, so that it has one rounding and one zero case.
                f1=_ratio(2 * hits, support + predicted),
                support=support,
                predicted=predicted,
            )
        )
    return scores


def macro_f1(references: Sequence[str], predictions: Sequence[str], labels: Sequence[str]) -> float:
    """Unweighted mean of F1 over the labels that occur among the references or the predictions.

    A label of the model that the golden set never uses and the model never predicts says nothing about
    quality; counting it as 0.0 would punish a small golden set. Raises as `confusion_matrix`.
    """
    seen = [s.f1 for s in per_class(references, predictions, labels) if s.support or s.predicted]
    return sum(seen) / len(seen)


def _ratio(numerator: int, denominator: int) -> float:
    return numerator / denominator if denominator else 0.0
