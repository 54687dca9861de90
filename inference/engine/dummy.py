"""A backend without weights, for tests of everything around a model. Same snapshot rules, same shapes.

Words become ids by CRC-32 and a text's logits depend only on its own ids and on the snapshot's config.json.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.engine.backend import Encoding
from inference.engine.snapshot import check_snapshot, read_config
from inference.engine.types import ClassifierConfig


@dataclass
class DummyBackend:
    labels: tuple[str, ...] = ("negative", "positive")
    max_length: int = 128
    salt: int = 0
    device: str = "cpu"
    token_budget: int = 1024

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        rows = [[1, *(zlib.crc32(word.encode()) for word in text.split()), 2] for text in texts]
        cut = self.max_length
        return [Encoding(ids[:cut], [0] * min(len(ids), cut), len(ids) > cut) for ids in rows]

    def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
        sums = [sum(encoding.input_ids) + self.salt for encoding in batch]
        return np.array(
            [[(s * (i + 3)) % 7 for i in range(len(self.labels))] for s in sums], dtype=np.float32
        )

    def close(self) -> None:
        pass


def load_dummy(config: ClassifierConfig) -> DummyBackend:
    """A dummy with the labels (and `dummy_salt`) of the snapshot. Raises ModelLoadError as the real loader
    does."""
    check_snapshot(config.snapshot)
    settings = read_config(config.snapshot)
    labels = tuple(settings.get("id2label", {"0": "negative", "1": "positive"}).values())
    return DummyBackend(labels=labels, max_length=config.max_length, salt=int(settings.get("dummy_salt", 0)))
