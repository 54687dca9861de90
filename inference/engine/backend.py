"""What the engine needs from a model: turn texts into token ids, and token ids into numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inference.engine.tasks import Head, Input
from inference.engine.types import Variant

# One array for each encoding; where all are of one shape they may come as one array.
Numbers = NDArray[np.float32] | Sequence[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Piece:
    """A token that carries text: where it stands among the tokens and in the text."""

    index: int
    word: str
    start: int
    end: int
    subword: bool


@dataclass(frozen=True, slots=True)
class Encoding:
    """One input as the model sees it: unpadded token ids (and segment ids of the same length). `pieces` only
    where the head answers token by token."""

    input_ids: list[int]
    type_ids: list[int]
    truncated: bool
    pieces: tuple[Piece, ...] = ()

    def __len__(self) -> int:
        return len(self.input_ids)


class Backend(Protocol):
    """A loaded model. `encode` may be called from any thread; `forward` only from one thread at a time."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each logit, in order; empty for an embedding model."""

    @property
    def head(self) -> Head:
        """What `forward` gives for an input."""

    @property
    def variant(self) -> Variant:
        """What computes: backend, precision, device."""

    @property
    def device(self) -> str:
        """Where it runs: cpu, cuda or mps."""

    @property
    def max_length(self) -> int:
        """The most tokens of one encoding, special tokens included."""

    @property
    def token_budget(self) -> int:
        """Tokens in one forward pass that suit this backend and device."""

    @property
    def pads(self) -> bool:
        """Whether a batch costs its longest input times its rows, so that like lengths belong together."""

    def encode(self, inputs: Sequence[Input]) -> list[Encoding]:
        """One encoding for each input, cut at `max_length` and flagged when cut."""

    def join(self, words: Sequence[str]) -> str:
        """Tokens as text again."""

    def forward(self, batch: Sequence[Encoding]) -> Numbers:
        """One array for each encoding, on the CPU: (labels,), (tokens, labels) or (size,) as the head says.
        Errors of the library come out as they are."""

    def close(self) -> None:
        """Let go of the model's memory."""


class WideBackend(Backend, Protocol):
    """One of several that share a machine's cores, and that may have them all while the others rest."""

    most_threads: int

    def spread(self, *, wide: bool) -> None:
        """From the next forward pass on: with `most_threads`, or with one."""


class LoopBackend(Backend, Protocol):
    """A backend that an event loop can drive without a thread: its forward pass is begun here and computed elsewhere (or
    costs next to nothing)."""

    async def attach(self, done: Callable[[Numbers | BaseException], None]) -> None:
        """From now on `begin` on this loop, in the place of `forward`."""

    def begin(self, batch: Sequence[Encoding]) -> Numbers | None:
        """What `forward` gives where it is there at once; None: `done` gets that, or what `forward` would raise, once, in
        a later turn of the loop. One batch at a time."""
