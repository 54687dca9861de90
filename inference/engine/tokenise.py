"""Texts to token ids. The tokenizer is part of the model's contract: same files, same cut, in tests and in
service."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from inference.engine.backend import Encoding


class Tokeniser:
    """Encodes texts, cut at `max_length` tokens, without padding. Safe from several threads.

    A fast tokenizer is used below transformers: its `__call__` sets truncation on the shared Rust object,
    and two threads doing that at once end in "Already borrowed". Ours is a copy, set once.
    """

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.max_length = max_length
        self._lock = threading.Lock()
        self._slow = tokenizer
        self._fast: Any = None
        if tokenizer.is_fast:
            self._fast = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
            self._fast.no_padding()
            self._fast.enable_truncation(max_length, direction=tokenizer.truncation_side)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """One encoding for each text, in order."""
        if self._fast is None:
            with self._lock:
                return [self._encode_slow(text) for text in texts]
        return [
            Encoding(row.ids, row.type_ids, bool(row.overflowing))
            for row in self._fast.encode_batch_fast(list(texts))
        ]

    def _encode_slow(self, text: str) -> Encoding:
        cut = self._slow(
            text, truncation=True, max_length=self.max_length, return_token_type_ids=True, verbose=False
        )
        ids: list[int] = cut["input_ids"]
        # Only a text that fills the limit can have been cut; only then is it worth encoding it a second time.
        full = len(ids) >= self.max_length and len(self._slow(text, verbose=False)["input_ids"]) > len(ids)
        return Encoding(ids, cut["token_type_ids"], full)
