"""The risk tier: the whole matrix, written out a second time."""

from __future__ import annotations

import itertools

import pytest
from django.test import Client

from reviews.enums import DataClass, Environment
from reviews.tiers import CLOSED_TASKS, TIERS, reason_for, tier_of
from tests.factories import World, make_review, make_revision

CLOSED, OPEN, UNKNOWN = "text-classification", "text-generation", ""

# (environment, data class): the tier of a task with a closed set of answers, of a free one, of an undeclared one
MATRIX = {
    ("development", "public"): ("low", "medium", "medium"),
    ("development", "internal"): ("low", "medium", "medium"),
    ("development", "confidential"): ("low", "medium", "medium"),
    ("development", "personal"): ("medium", "high", "high"),
    ("staging", "public"): ("low", "medium", "medium"),
    ("staging", "internal"): ("low", "medium", "medium"),
    ("staging", "confidential"): ("medium", "high", "high"),
    ("staging", "personal"): ("high", "high", "high"),
    ("production", "public"): ("low", "medium", "medium"),
    ("production", "internal"): ("medium", "high", "high"),
    ("production", "confidential"): ("high", "high", "high"),
    ("production", "personal"): ("high", "high", "high"),
}


def test_matrix_is_whole() -> None:
    assert set(MATRIX) == set(itertools.product(Environment.values, DataClass.values))


@pytest.mark.parametrize(("cell", "tiers"), MATRIX.items(), ids=" ".join)
def test_tier(cell: tuple[str, str], tiers: tuple[str, str, str]) -> None:
    environment, data_class = cell
    assert tuple(tier_of(data_class, environment, task) for task in (CLOSED, OPEN, UNKNOWN)) == tiers


@pytest.mark.parametrize("task", [*sorted(CLOSED_TASKS), OPEN, UNKNOWN, "no-such-task"])
def test_more_sensitive_data_or_a_nearer_environment_never_lowers_the_tier(task: str) -> None:
    rank = {
        (d, e): TIERS.index(tier_of(data_class, environment, task))
        for d, data_class in enumerate(DataClass.values)
        for e, environment in enumerate(Environment.values)
    }
    for (d, e), value in rank.items():
        assert value >= rank.get((d - 1, e), 0) and value >= rank.get((d, e - 1), 0)


@pytest.mark.parametrize(("data_class", "environment"), [("secret", "production"), ("public", "the moon")])
def test_unknown_words_count_as_high(data_class: str, environment: str) -> None:
    assert tier_of(data_class, environment, CLOSED) == "high"


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (CLOSED, "Personal data in production; text-classification answers from a closed set."),
        (OPEN, "Personal data in production; text-generation answers freely, which counts one tier higher."),
        (UNKNOWN, "Personal data in production; no task is declared, which counts one tier higher."),
    ],
)
def test_reason(task: str, words: str) -> None:
    assert reason_for("personal", "production", task) == words


def test_review_page_and_submission_form_show_it(world: World, client: Client) -> None:
    review = make_review(world, make_revision(world.team), environment="production")
    client.force_login(world.submitter.user)
    page = client.get(f"/reviews/{review.pk}/").content.decode()
    assert "Medium risk:" in page and "Internal data in production" in page
    typed = "/reviews/tier/?data_class=personal&environment=production&pipeline_tag=text-classification"
    assert "High risk:" in client.get(typed).content.decode()
    assert "no task is declared" in client.get("/reviews/new/").content.decode()
