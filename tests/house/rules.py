"""Taking the database's rules away for a moment: to empty tables, and to forge what they would refuse."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper

from inference.triggers import RULES as INFERENCE_RULES
from registry import triggers
from reviews.triggers import RULES as REVIEW_RULES

ALL = [*triggers.RULES, *INFERENCE_RULES, *REVIEW_RULES]


@contextmanager
def without_rules(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """The triggers are away inside the block and back after it."""
    triggers.uninstall(connection, ALL)
    try:
        yield
    finally:
        triggers.install(connection, ALL)
