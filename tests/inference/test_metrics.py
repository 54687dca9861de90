"""Quality and order statistics against numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from inference.metrics import accuracy, confusion_matrix, macro_f1, per_class
from inference.stats import median, percentile

LABELS = ["negative", "neutral", "positive"]
REFERENCES = ["negative", "negative", "neutral", "positive", "positive", "positive"]
PREDICTIONS = ["negative", "positive", "neutral", "positive", "positive", "neutral"]


def test_confusion_matrix_has_references_as_rows() -> None:
    assert confusion_matrix(REFERENCES, PREDICTIONS, LABELS) == [[1, 0, 1], [0, 1, 0], [0, 1, 2]]


def test_confusion_matrix_follows_the_order_of_labels() -> None:
    assert confusion_matrix(["a", "b"], ["b", "b"], ["b", "a"]) == [[1, 0], [1, 0]]


def test_accuracy_counts_the_diagonal() -> None:
    assert accuracy(REFERENCES, PREDICTIONS) == pytest.approx(4 / 6)


def test_per_class_scores_match_hand_computation() -> None:
    negative, neutral, positive = per_class(REFERENCES, PREDICTIONS, LABELS)
    assert (negative.precision, negative.recall, negative.support, negative.predicted) == (1.0, 0.5, 2, 1)
    assert negative.f1 == pytest.approx(2 / 3)
    assert (neutral.precision, neutral.recall) == (0.5, 1.0)
    assert neutral.f1 == pytest.approx(2 / 3)
    assert [positive.precision, positive.recall] == pytest.approx([2 / 3, 2 / 3])


def test_macro_f1_is_the_plain_mean() -> None:
    assert macro_f1(REFERENCES, PREDICTIONS, LABELS) == pytest.approx(2 / 3)


def test_macro_f1_ignores_a_label_that_never_occurs() -> None:
    assert macro_f1(["a", "a"], ["a", "a"], ["a", "b"]) == 1.0


def test_macro_f1_counts_a_label_predicted_wrongly() -> None:
    # a: P 1, R 1/2, F1 2/3; b: never a reference, predicted once, F1 0.
    assert macro_f1(["a", "a"], ["a", "b"], ["a", "b"]) == pytest.approx(1 / 3)


def test_per_class_without_predictions_is_zero_not_an_error() -> None:
    scores = per_class(["a"], ["b"], ["a", "b"])
    assert [(s.precision, s.recall, s.f1) for s in scores] == [(0.0, 0.0, 0.0), (0.0, 0.0, 0.0)]


@pytest.mark.parametrize(
    ("references", "predictions", "labels", "sentence"),
    [
        ([], [], ["a"], "nothing to compare"),
        (["a"], ["a", "a"], ["a"], "do not match"),
        (["a"], ["b"], ["a"], r"Not among the labels \['a'\]: \['b'\]"),
        (["z"], ["a"], ["a"], "Not among"),
        (["a"], ["a"], ["a", "a"], "listed twice"),
    ],
)
def test_confusion_matrix_refuses_bad_input(
    references: list[str], predictions: list[str], labels: list[str], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        confusion_matrix(references, predictions, labels)


@pytest.mark.parametrize(
    ("values", "q", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0], 50, 2.5),
        ([4.0, 1.0, 3.0, 2.0], 0, 1.0),
        ([4.0, 1.0, 3.0, 2.0], 100, 4.0),
        ([1.0, 2.0, 3.0, 4.0, 5.0], 95, 4.8),
        ([7.0], 99, 7.0),
    ],
)
def test_percentile_interpolates(values: list[float], q: float, expected: float) -> None:
    assert percentile(values, q) == pytest.approx(expected)


def test_median_of_an_even_number_is_the_middle() -> None:
    assert median([3, 1]) == 2


@pytest.mark.parametrize("values", [[], [1.0, math.nan, 2.0], [math.inf]])
def test_percentile_refuses_values_without_an_order(values: list[float]) -> None:
    with pytest.raises(ValueError, match="percentile needs"):
        percentile(values, 50)


@pytest.mark.parametrize("q", [-1, 101, math.nan])
def test_percentile_refuses_q_outside_its_range(q: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        percentile([1.0], q)
