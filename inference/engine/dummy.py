"""A backend without weights, for tests of everything around a model. Same snapshot rules, same shapes.

Words become ids by CRC-32 and a text's numbers depend only on its own ids and on the snapshot's config.json.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from inference.engine.backend import Encoding, Numbers, Piece
from inference.engine.snapshot import check_snapshot, read_config
from inference.engine.tasks import Head, Input, head_kind
from inference.engine.types import ClassifierConfig, Variant


@dataclass
class DummyBackend:
    labels: tuple[str, ...] = ("negative", "positive")
    max_length: int = 128
    salt: int = 0
    device: str = "cpu"
    token_budget: int = 1024
    head: Head = field(default_factory=Head)
    pads: bool = False

    def __post_init__(self) -> None:
        self.variant = Variant("dummy", "int", self.device)
        if self.head.kind != "embed":
            self.head = replace(self.head, size=len(self.labels))

    def encode(self, inputs: Sequence[Input]) -> list[Encoding]:
        return [self._encode(text if isinstance(text, str) else " ".join(text)) for text in inputs]

    def join(self, words: Sequence[str]) -> str:
        return " ".join(words)

    def tokeniser_facts(self) -> dict[str, Any]:
        """What another process needs to encode as this backend does: nothing that its shape does not tell."""
        return {"dummy": True}

    def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
        if self.head.kind == "tag":
            rows = [np.array([self._row(token) for token in e.input_ids], np.float32) for e in batch]
            return cast(NDArray[np.float32], rows)
        return np.array([self._row(sum(encoding.input_ids)) for encoding in batch], dtype=np.float32)

    def close(self) -> None:
        pass

    def _row(self, number: int) -> list[int]:
        return [((number + self.salt) * (i + 3)) % 7 for i in range(self.head.size)]

    def _encode(self, text: str) -> Encoding:
        ids = [1, *map(_number, text.split()), 2]
        cut = self.max_length
        pieces: tuple[Piece, ...] = ()
        if self._tags:
            words = enumerate(re.finditer(r"\S+", text), 1)
            pieces = tuple(Piece(i, word.group(), *word.span(), False) for i, word in words)[: cut - 1]
        return Encoding(ids[:cut], [0] * min(len(ids), cut), len(ids) > cut, pieces)

    @property
    def _tags(self) -> bool:
        return self.head.kind == "tag"


class AtOnceDummy(DummyBackend):
    """A dummy that an event loop may drive: what it computes is there before anything could wait for it."""

    async def attach(self, done: Callable[[Numbers | BaseException], None]) -> None:
        pass

    def begin(self, batch: Sequence[Encoding]) -> Numbers | None:
        return self.forward(batch)


@lru_cache(10_000)
def _number(word: str) -> int:
    return zlib.crc32(word.encode())


def load_dummy(config: ClassifierConfig) -> DummyBackend:
    """A dummy with the labels (and `dummy_salt`) of the snapshot. Raises ModelLoadError as the real loader
    does."""
    check_snapshot(config.snapshot)
    settings = read_config(config.snapshot)
    labels = tuple(settings.get("id2label", {"0": "negative", "1": "positive"}).values())
    kind = head_kind(config.task) or "classify"
    return AtOnceDummy(
        labels=() if kind == "embed" else labels,
        max_length=config.max_length,
        salt=int(settings.get("dummy_salt", 0)),
        head=Head(kind, size=int(settings.get("dummy_size", 8))),
    )
