"""Fewer looks for garbage in cycles, of which a request leaves none."""

from __future__ import annotations

import gc

# New objects between two looks. Python's 700 are a look every few requests, a fifth of their time (docs/performance.md).
_YOUNG = 20_000


def look_seldom() -> None:
    """Once everything is imported: what is there now stays, and is never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 50)
