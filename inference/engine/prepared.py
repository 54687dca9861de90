"""A request that is checked and tokenised, and only waits to be computed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from inference.engine.backend import Encoding
from inference.engine.postprocess import (
    Known,
    ToResult,
    ToResults,
    finish,
    row_finisher,
    table_finisher,
)
from inference.engine.tasks import Input, Options, check_options
from inference.engine.types import Result
from inference.engine.validate import check_fits


class Encoder(Known, Protocol):
    """What makes tokens of texts: a `Backend` is one, and so is a remote engine."""

    @property
    def max_length(self) -> int: ...

    def encode(self, inputs: Sequence[Input]) -> list[Encoding]: ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """`to_result` turns one input's numbers into its result, `to_results` those of all inputs where that is
    quicker; `finish` the results into the request's."""

    encodings: Sequence[Encoding]
    to_result: ToResult
    finish: Callable[[Sequence[Any]], tuple[Result, ...]]
    spent_ms: float
    to_results: ToResults | None = None


def prepare(encoder: Encoder, inputs: Sequence[Input], options: Options, *, truncate: bool) -> Prepared:
    """`inputs` are as `check_inputs` gives them. Raises InferenceInputError (of `check_options`, input_too_long)."""
    started = time.perf_counter()
    check_options(options, encoder.head, len(inputs))
    to_result = row_finisher(options, encoder)
    encodings = encoder.encode(inputs)
    if not truncate:
        check_fits([e.truncated for e in encodings], encoder.max_length)
    spent_ms = (time.perf_counter() - started) * 1000
    to_results = table_finisher(options, encoder)
    return Prepared(encodings, to_result, lambda results: finish(options, results), spent_ms, to_results)
