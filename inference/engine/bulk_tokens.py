"""What the tokenising processes of `bulk` run. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from inference.engine.preprocessing import TRAVELLING
from inference.engine.tokenise import Tokeniser, TokeniserState
from inference.engine.words import Words

Encode = Callable[[Sequence[str]], tuple[list[list[int]], list[bool]]]
_encode: list[Encode] = []


@dataclass(frozen=True)
class Tokens:
    """A chunk of texts: all token ids one after the other, and each text's count and whether it was cut."""

    ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    truncated: NDArray[np.bool_]


def begin(state: TokeniserState) -> None:
    """Once in each process. Parallel by processes, so not by threads in them as well."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _encode[:] = [make_encode(state)]


def encode(texts: list[str]) -> Tokens:
    ids, truncated = _encode[0](texts)
    lengths = np.fromiter(map(len, ids), np.int32, len(ids))
    flat = np.fromiter(chain.from_iterable(ids), np.int32, int(lengths.sum()))
    return Tokens(flat, lengths, np.array(truncated))


def make_encode(state: TokeniserState) -> Encode:
    """The way by words where it is the same, else the tokenizer's own."""
    step = TRAVELLING[state.step]
    if Words.suits(state.source, state.side):
        words = Words(state.source, state.max_length)
        if step.name == "none":
            return words.encode
        return lambda texts: words.encode([step.apply(text) for text in texts])
    tokeniser = Tokeniser(state.source, state.max_length, step, types=False, side=state.side)

    def plain(texts: Sequence[str]) -> tuple[list[list[int]], list[bool]]:
        encodings = tokeniser.encode(texts)
        return [e.input_ids for e in encodings], [e.truncated for e in encodings]

    return plain
