"""The tables against the log: every row of a record has the event that wrote it, says the same, and no event lacks its row.

A chain can be whole and still not tell everything: a row that somebody wrote past it, changed or took away shows only here.
Which tables and which of their columns: docs/audit.md, which a test compares with these lists.
"""

from __future__ import annotations

from cli.chain import Told
from cli.findings import Finding
from cli.ledgers import Ledger
from cli.tables import answers, mentions, registry, reviews
from cli.tables.common import Table, problems

# Beside the tables: those whose event tells of several rows.
BESIDE = (answers.TABLE, mentions.TABLE)
TABLES: tuple[Table, ...] = (*registry.TABLES, *reviews.TABLES)
WANTED = tuple(sorted({*(kind for table in TABLES for kind in table.kinds), *answers.KINDS}))


def compare(ledger: Ledger, told: list[Told]) -> list[Finding]:
    """Raises CannotCheck when a table cannot be read."""
    found = [problem for table in TABLES for problem in problems(table, ledger, told)]
    found += registry.pointers(ledger)
    found += registry.manifests(ledger)
    found += answers.problems(ledger, told)
    found += mentions.problems(ledger, told)
    return [Finding(rule, sentence, f"{ledger.name}:{table}", pk) for rule, table, pk, sentence in found]
