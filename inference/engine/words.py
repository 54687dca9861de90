"""Word pieces of whole texts from those of their words: words repeat, so most are looked up and not computed.

True for BERT's way of tokenising alone: its normaliser changes characters one by one, its pre-tokeniser ends
every word at a blank, and nothing looks across.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain

from tokenizers import Tokenizer

_MOST_WORDS = 400_000
_LONGEST_KEPT = 64


class Words:
    """A tokenizer with a memory. Not for several threads at once."""

    def __init__(self, source: str, max_length: int) -> None:
        self._tokenizer = Tokenizer.from_str(source)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        whole, bare = (self._tokenizer.encode("a", add_special_tokens=some).ids for some in (True, False))
        start = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
        self._before, self._after = whole[:start], whole[start + len(bare) :]
        self._room = max_length - len(self._before) - len(self._after)
        self._known: dict[str, list[int]] = {"": []}

    @staticmethod
    def suits(source: str, side: str) -> bool:
        """Whether a text's tokens are its words' tokens under this tokenizer (tokenizer.json)."""
        settings = json.loads(source)
        kinds = [(settings.get(name) or {}).get("type") for name in ("normalizer", "pre_tokenizer", "model")]
        return (
            kinds == ["BertNormalizer", "BertPreTokenizer", "WordPiece"]
            and side == "right"
            and (settings.get("post_processor") or {}).get("type") in ("TemplateProcessing", "BertProcessing")
            and not any(" " in token["content"] for token in settings.get("added_tokens", []))
        )

    def encode(self, texts: Sequence[str]) -> tuple[list[list[int]], list[bool]]:
        """Each text's ids, special tokens included, cut at the limit; and whether it was cut."""
        # The blank alone: what else is white space is the normaliser's business.
        rows = [text.split(" ") for text in texts]
        known = self._known
        unknown = list({word for row in rows for word in row if word not in known})
        if unknown:
            encoded = self._tokenizer.encode_batch_fast(unknown, add_special_tokens=False)
            known.update(zip(unknown, (row.ids for row in encoded), strict=True))
        found = [list(chain.from_iterable(map(known.__getitem__, row))) for row in rows]
        self._forget(unknown)
        before, after, room = self._before, self._after, self._room
        return [before + ids[:room] + after for ids in found], [len(ids) > room for ids in found]

    def _forget(self, new: Sequence[str]) -> None:
        """Keep the memory bounded, and free of what will hardly come again."""
        if len(self._known) > _MOST_WORDS:
            self._known = {"": []}
            return
        for word in new:
            if len(word) > _LONGEST_KEPT:
                del self._known[word]
