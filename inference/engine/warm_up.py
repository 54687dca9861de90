"""Before traffic: run the shapes that will come, and prove that the model answers sanely and repeatably."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.engine.backend import Backend
from inference.engine.errors import InferenceError, ModelLoadError
from inference.engine.forward import run_batch
from inference.engine.postprocess import check_finite, probabilities, to_vector
from inference.engine.tasks import Head

CANARY_TEXT = "The delivery was late and support was terrible."
# By precision: two answers to one text, computed in batches of another shape, may lie so far apart.
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 1e-1}


def warm_up(backend: Backend) -> list[float]:
    """What the model says of the canary text (see `signature`), from the first, slow passes.

    The text is run alone and beside the longest possible one: that finds a position table shorter than promised here, not in
    a request; and a model that answers differently because of its neighbours (a broken padding mask) must not serve. Raises
    ModelLoadError (warm_up_failed, canary_failed).
    """
    longest = "warm " * (2 * backend.max_length)
    found = []
    try:
        for texts in ([CANARY_TEXT], [CANARY_TEXT, longest]):
            rows = run_batch(backend, backend.encode(texts))
            for row in rows:
                check_finite(row)
            found.append(signature(rows[0], backend.head))
    except InferenceError as exc:
        raise ModelLoadError(f"The model failed its warm-up: {exc}", code="warm_up_failed") from exc
    alone, beside = found
    check_canary(beside, alone, backend.variant.dtype, what="its answer when run alone")
    return alone


def signature(row: NDArray[np.float32], head: Head) -> list[float]:
    """One input's numbers as they are compared: probabilities, or a vector of length 1. Raises
    InferenceOutputError for NaN or Inf."""
    if head.kind == "embed":
        return [float(number) for number in to_vector(row, normalise=True)]
    scores = probabilities(row, "sigmoid" if head.size == 1 else head.activation)
    return [float(score) for score in scores.reshape(-1)]


def check_canary(
    scores: Sequence[float],
    reference: Sequence[float],
    dtype: str = "fp32",
    *,
    what: str = "the stored reference",
) -> None:
    """Raise ModelLoadError (canary_failed) unless the scores equal the reference within the precision's
    tolerance."""
    tolerance = TOLERANCES.get(dtype, TOLERANCES["fp32"])
    far = len(scores) != len(reference) or any(
        abs(a - b) > tolerance for a, b in zip(scores, reference, strict=True)
    )
    if far:
        raise ModelLoadError(
            f"The canary's answer differs from {what} by more than {tolerance}.", code="canary_failed"
        )
