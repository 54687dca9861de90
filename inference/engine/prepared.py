"""A request that is checked and tokenised, and only waits to be computed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from inference.engine.backend import Encoding, Numbers
from inference.engine.postprocess import Known, check_labels, read_results
from inference.engine.tasks import Input, Options, check_options
from inference.engine.types import Answer, Variant
from inference.engine.validate import check_fits


class Encoder(Known, Protocol):
    """What makes tokens of texts: a `Backend` is one, and so is a remote engine."""

    @property
    def max_length(self) -> int: ...

    def encode(self, inputs: Sequence[Input]) -> list[Encoding]: ...


@dataclass(slots=True)
class Prepared:
    encodings: Sequence[Encoding]
    options: Options
    known: Known
    spent_ms: float

    def answer(self, rows: Numbers, variant: Variant, queue_ms: float, inference_ms: float) -> Answer:
        """What the request gets for its inputs' numbers. Raises InferenceOutputError."""
        return Answer(
            read_results(self.options, self.known, rows, self.encodings),
            variant,
            round(self.spent_ms, 2),
            round(queue_ms, 2),
            round(inference_ms, 2),
        )


def prepare(encoder: Encoder, inputs: Sequence[Input], options: Options, *, truncate: bool) -> Prepared:
    """`inputs` are as `check_inputs` gives them. Raises InferenceInputError (of `check_options`, input_too_long)."""
    started = time.perf_counter()
    check_options(options, encoder.head, len(inputs))
    check_labels(options, encoder.labels)
    encodings = encoder.encode(inputs)
    if not truncate:
        check_fits([e.truncated for e in encodings], encoder.max_length)
    return Prepared(encodings, options, encoder, (time.perf_counter() - started) * 1000)
