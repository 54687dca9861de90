"""What the engine needs from a model: turn texts into token ids, and token ids into logits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Encoding:
    """One text as the model sees it: unpadded token ids (and segment ids of the same length)."""

    input_ids: list[int]
    type_ids: list[int]
    truncated: bool

    def __len__(self) -> int:
        return len(self.input_ids)


class Backend(Protocol):
    """A loaded model. `encode` may be called from any thread; `forward` only from one thread at a time."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each logit, in order."""

    @property
    def device(self) -> str:
        """Where it runs: cpu, cuda or mps."""

    @property
    def max_length(self) -> int:
        """The most tokens of one encoding, special tokens included."""

    @property
    def token_budget(self) -> int:
        """Tokens in one forward pass, padding included, that suit this device."""

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """One encoding for each text, cut at `max_length` and flagged when cut."""

    def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
        """Logits, shape (len(batch), len(labels)), on the CPU. Errors of the library come out as they are."""

    def close(self) -> None:
        """Let go of the model's memory."""
