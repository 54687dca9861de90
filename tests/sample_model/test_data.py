"""The sample data is fit to train and to judge on: shape, balance, variety, and no leak from train to golden.

A golden row that is a near-copy of a training row would measure memory, not the model, and every review
that shows such a figure would be wrong. So the leak check is a test, not a promise in a README.
"""

import csv
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

DATA = Path(__file__).parent / "data"
LABELS = {"negative", "neutral", "positive"}
ENGLISH = re.compile(
    r"\b(the|a|an|is|are|was|were|it|i|my|we|our|they|and|but|for|of|not|no|so|in|on|to|very|this|that|best|too"
    r"|nothing|worth|love|never|still|fine|awful|works|okay|average|wrong|same)\b"
)

Row = tuple[str, str]


def read_rows(name: str) -> list[Row]:
    """`(text, label)` of every row of one data file; KeyError when a column is missing."""
    with (DATA / name).open(encoding="utf-8", newline="") as handle:
        return [(row["text"], row["label"]) for row in csv.DictReader(handle)]


def words(text: str) -> list[str]:
    """Lower-case words without punctuation and emoji: what two reviews are compared by."""
    return re.findall(r"\w+", unicodedata.normalize("NFC", text).lower())


def char_grams(text: str, n: int = 5) -> set[str]:
    joined = " ".join(words(text))
    return {joined[i : i + n] for i in range(max(1, len(joined) - n + 1))}


def word_grams(text: str, n: int) -> set[tuple[str, ...]]:
    parts = words(text)
    return {tuple(parts[i : i + n]) for i in range(len(parts) - n + 1)}


def jaccard(left: set[str], right: set[str]) -> float:
    return len(left & right) / len(left | right)


def is_english(text: str) -> bool:
    """ASCII only and with a common English word: enough to tell the two languages of this data apart."""
    return text.isascii() and ENGLISH.search(text.lower()) is not None


TRAIN = read_rows("train.csv")
GOLDEN = read_rows("golden.csv")


@pytest.mark.parametrize(("rows", "least"), [(TRAIN, 700), (GOLDEN, 160)], ids=["train", "golden"])
def test_file_has_the_promised_shape(rows: list[Row], least: int) -> None:
    assert len(rows) >= least
    for text, label in rows:
        assert label in LABELS
        assert text == text.strip() and text
        assert text == unicodedata.normalize("NFC", text), "decomposed diacritics tokenize differently"


@pytest.mark.parametrize("rows", [TRAIN, GOLDEN], ids=["train", "golden"])
def test_labels_and_languages_are_balanced(rows: list[Row]) -> None:
    by_label = Counter(label for _, label in rows)
    assert max(by_label.values()) <= 1.2 * min(by_label.values()), by_label
    english = sum(is_english(text) for text, _ in rows) / len(rows)
    assert 0.3 <= english <= 0.5, f"about 40 % English, found {english:.0%}"


def test_training_reviews_vary_in_length_and_writing() -> None:
    lengths = [len(words(text)) for text, _ in TRAIN]
    assert min(lengths) <= 3 and max(lengths) >= 30
    assert len(set(lengths)) >= 20
    unaccented = [text for text, _ in TRAIN if text.isascii() and not is_english(text)]
    assert len(unaccented) >= 20, "Vietnamese typed without diacritics is part of the domain"


@pytest.mark.parametrize("rows", [TRAIN, GOLDEN], ids=["train", "golden"])
def test_no_row_is_repeated_inside_a_file(rows: list[Row]) -> None:
    seen = Counter(" ".join(words(text)) for text, _ in rows)
    assert [text for text, count in seen.items() if count > 1] == []


def test_no_opening_dominates_the_training_file() -> None:
    """A file filled from templates would begin alike again and again."""
    openings = Counter(tuple(words(text)[:3]) for text, _ in TRAIN)
    assert openings.most_common(1)[0][1] <= 0.02 * len(TRAIN), openings.most_common(3)


def test_no_golden_row_resembles_a_training_row() -> None:
    train = [(text, char_grams(text)) for text, _ in TRAIN]
    leaks = [
        (round(score, 2), golden, text)
        for golden, _ in GOLDEN
        for text, grams in train
        if (score := jaccard(char_grams(golden), grams)) >= 0.5
    ]
    assert leaks == []


def test_golden_and_train_share_no_run_of_six_words() -> None:
    train_runs = set().union(*(word_grams(text, 6) for text, _ in TRAIN))
    leaks = [(text, shared) for text, _ in GOLDEN if (shared := word_grams(text, 6) & train_runs)]
    assert leaks == []
