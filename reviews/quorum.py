"""How many votes a request needs, as SQL over its own row: what the database counts with, whoever wrote that row.

Made from the tables that the services read (tiers.py, votes.py); a test compares the two over every combination.
"""

from __future__ import annotations

from itertools import product

from reviews.enums import DataClass, Environment
from reviews.tiers import CLOSED_TASKS, TIERS, Tier, tier_of
from reviews.votes import SEATS


def votes_needed(request: str) -> str:
    """`request`: the alias of a row of reviews_reviewrequest. The seats of its widest use, and legal's when it is asked."""
    cases, most = "", len(SEATS[TIERS[0]])
    for tier in TIERS[1:]:
        if len(SEATS[tier]) > most:
            most = len(SEATS[tier])
            cases = f"WHEN {_reaches(request, tier)} THEN {most} {cases}"
    lowest = len(SEATS[TIERS[0]])
    return f"(CASE {cases}ELSE {lowest} END + CASE WHEN {request}.legal_asked THEN 1 ELSE 0 END)"


def _reaches(request: str, tier: Tier) -> str:
    """True when something that the row asks for or allows is of this tier or a higher one."""
    task = (
        f"(COALESCE((SELECT q.pipeline_tag FROM registry_revision q WHERE q.id = {request}.revision_id), '') "
        f"IN ({_quoted(sorted(CLOSED_TASKS))}))"
    )
    closed, free = (_any_pair(request, tier, tag) for tag in (min(CLOSED_TASKS), ""))
    unknown = " OR ".join(
        _unknown(request, column, listed, words)
        for column, listed, words in (
            ("environment", "allowed_environments", Environment.values),
            ("data_class", "data_classes", DataClass.values),
        )
    )
    return f"({unknown} OR ({task} AND ({closed})) OR (NOT {task} AND ({free})))"


def _any_pair(request: str, tier: Tier, task: str) -> str:
    least = TIERS.index(tier)
    return " OR ".join(
        f"({_allows(request, 'environment', 'allowed_environments', environment)} "
        f"AND {_allows(request, 'data_class', 'data_classes', data_class)})"
        for environment, data_class in product(Environment.values, DataClass.values)
        if TIERS.index(tier_of(data_class, environment, task)) >= least
    )


def _allows(request: str, column: str, listed: str, word: str) -> str:
    return f"({request}.{column} = '{word}' OR CAST({request}.{listed} AS TEXT) LIKE '%\"{word}\"%')"


def _unknown(request: str, column: str, listed: str, words: list[str]) -> str:
    """A word that the table does not know, however it is spelled: it counts as high there, so it does here."""
    rest = f"CAST({request}.{listed} AS TEXT)"
    for part in (*(f'"{word}"' for word in words), "[", "]", ",", " "):
        rest = f"REPLACE({rest}, '{part}', '')"
    return f"{request}.{column} NOT IN ({_quoted(words)}) OR {rest} <> ''"


def _quoted(words: list[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)
