"""How many tokens one forward pass may hold: less after it ran out of memory, slowly more again."""

from __future__ import annotations

_PATIENCE = 50


class Budget:
    def __init__(self, tokens: int, *, least: int) -> None:
        self._full = tokens
        self._least = min(least, tokens)
        self._passed = 0
        self.tokens = tokens

    def shrink(self, failed: int) -> None:
        """A batch of so many tokens ran out of memory: half of it, but never less than one full input."""
        self.tokens = max(self._least, min(self.tokens, failed) // 2)
        self._passed = 0

    def grow(self) -> None:
        """A batch passed; after some of them in a row the budget doubles, up to what it was."""
        if self.tokens == self._full:
            return
        self._passed += 1
        if self._passed >= _PATIENCE:
            self.tokens = min(self._full, self.tokens * 2)
            self._passed = 0
