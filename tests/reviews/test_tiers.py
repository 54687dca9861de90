"""The risk tier: the whole matrix, written out a second time."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.db import connection
from django.test import Client

from reviews.enums import DataClass, Environment
from reviews.models import ReviewRequest
from reviews.quorum import votes_needed
from reviews.tiers import CLOSED_TASKS, TIERS, reason_for, risk_of, tier_of, widest_of
from reviews.votes import seats_of
from tests.factories import World, make_review, make_revision
from tests.house.rules import without_rules

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


# --- what the decision record allows besides ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    environment: str
    data_class: str
    allowed_environments: list[str]
    data_classes: list[str]


def subsets(words: list[str]) -> list[list[str]]:
    return [list(some) for n in range(len(words) + 1) for some in itertools.combinations(words, n)]


@pytest.mark.parametrize("asked", MATRIX, ids=" ".join)
def test_highest_of_every_use_that_is_asked_for_or_allowed_counts(asked: tuple[str, str]) -> None:
    """Every record on every question: the pairs are spelled out, and their tiers read from the matrix above."""
    for where, data in itertools.product(subsets(Environment.values), subsets(DataClass.values)):
        pairs = [(e, d) for e in {asked[0], *where} for d in {asked[1], *data}]
        for column, task in enumerate((CLOSED, OPEN, UNKNOWN)):
            tiers = {pair: MATRIX[pair][column] for pair in pairs}
            risk = risk_of(Asked(*asked, where, data), task)
            assert risk.tier == max(tiers.values(), key=TIERS.index), (asked, where, data, task)
            assert tiers[(risk.environment, risk.data_class)] == risk.tier
            assert risk.is_widened == (tiers[asked] != risk.tier)


@pytest.mark.parametrize("asked", MATRIX, ids=" ".join)
def test_widest_is_the_nearest_environment_and_the_most_sensitive_data(asked: tuple[str, str]) -> None:
    for where, data in itertools.product(subsets(Environment.values), subsets(DataClass.values)):
        environment, data_class = widest_of(Asked(*asked, where, data))
        assert environment == next(e for e in reversed(Environment.values) if e in {asked[0], *where})
        assert data_class == next(d for d in reversed(DataClass.values) if d in {asked[1], *data})
        assert widest_of(Asked(*asked, where, data), "development")[0] == "development"
    assert widest_of(None) == ("production", "")


ALLOWS = "The record also allows"
REASONS = [
    # asked for; allowed besides; the tier; the sentence
    (("staging", "internal"), [], [], "low", "Internal data in staging; text-classification answers from a closed set."),
    (("staging", "internal"), ["production"], [], "medium", f"{ALLOWS} production with internal data."),
    (("staging", "internal"), ["production"], ["personal"], "high", f"{ALLOWS} production with personal data."),
    (("staging", "internal"), [], ["personal"], "high", f"{ALLOWS} staging with personal data."),
    (("staging", "internal"), ["development"], ["public"], "low", "from a closed set."),
    (("production", "personal"), ["staging"], ["public"], "high", "from a closed set."),
    # both are high: the wider of the two is named
    (("development", "public"), ["staging", "production"], ["personal"], "high", f"{ALLOWS} production with personal data."),
    (("staging", "internal"), ["the moon"], [], "high", f"{ALLOWS} unknown with internal data."),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "where", "data", "tier", "words"), REASONS)
def test_reason_names_the_use_that_counts(
    asked: tuple[str, str], where: list[str], data: list[str], tier: str, words: str
) -> None:
    risk = risk_of(Asked(*asked, where, data), CLOSED)
    assert risk.tier == tier and risk.reason.endswith(words)
    assert (ALLOWS in risk.reason) == risk.is_widened


def test_nothing_asked_counts_as_high_and_one_environment_can_be_looked_at_alone() -> None:
    assert risk_of(None, CLOSED).tier == risk_of(None, CLOSED, "production").tier == "high"
    asked = Asked("production", "internal", ["production"], [])
    assert (risk_of(asked, CLOSED).tier, risk_of(asked, CLOSED, "development").tier) == ("medium", "low")


UNHEARD_OF = [("the moon", "personal"), ("staging", "secret"), ("", "public")]


def test_database_counts_the_same_votes_from_the_row_itself(world: World) -> None:
    """Every question, with every environment and kind of data that a record may name besides, on three kinds of tasks."""
    revisions = []
    for number, task in enumerate((CLOSED, OPEN, UNKNOWN)):
        revision = make_revision(world.team, f"{number}" * 40)
        with without_rules(connection):
            type(revision).objects.filter(pk=revision.pk).update(pipeline_tag=task)
        revision.refresh_from_db()
        revisions.append(revision)
    shape = make_review(world, revisions[0], status="changes_requested")
    cells = [*MATRIX, *UNHEARD_OF]
    rows = [
        ReviewRequest(
            **{f.attname: getattr(shape, f.attname) for f in ReviewRequest._meta.fields if not f.primary_key}
            | {"revision_id": revision.pk, "environment": asked[0], "data_class": asked[1]}
            | {"allowed_environments": [cell[0]], "data_classes": [cell[1]], "legal_asked": legal}
        )
        for revision in revisions
        for asked in MATRIX
        for cell in cells
        for legal in (False, True)
    ]
    made = ReviewRequest.objects.bulk_create(rows)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT r.id, {votes_needed('r')} FROM reviews_reviewrequest r")
        counted = dict(cursor.fetchall())
    for row in made:
        assert counted[row.pk] == len(seats_of(row)), (row.environment, row.data_class, row.terms())
    assert {counted[row.pk] for row in made} == {1, 2, 3}


def test_nobody_computes_a_tier_past_the_one_function() -> None:
    """What grows with risk asks `risk_of`; only the table's own module, its SQL and the preview of a form read the table."""
    root = Path(__file__).resolve().parents[2]
    readers = {
        path.relative_to(root).as_posix()
        for folder in ("config", "registry", "inference", "reviews", "cli")
        for path in (root / folder).rglob("*.py")
        if re.search(r"\btier_of\b", path.read_text(encoding="utf-8"))
    }
    assert readers == {"reviews/tiers.py", "reviews/quorum.py", "reviews/views/tiers.py"}
