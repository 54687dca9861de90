"""Before traffic: run the shapes that will come, and prove that the model answers sanely and repeatably."""

from __future__ import annotations

from collections.abc import Sequence

from inference.engine.backend import Backend
from inference.engine.errors import InferenceError, ModelLoadError
from inference.engine.forward import run_batch
from inference.engine.postprocess import probabilities

CANARY_TEXT = "The delivery was late and support was terrible."
TOLERANCE = 1e-3


def warm_up(backend: Backend) -> None:
    """One short and one longest-possible forward pass, alone and together.

    The longest one finds a position table shorter than promised here, not in a request. Raises ModelLoadError
    (warm_up_failed).
    """
    longest = "warm " * (2 * backend.max_length)
    try:
        for texts in ([CANARY_TEXT], [longest], [CANARY_TEXT, longest]):
            for row in run_batch(backend, backend.encode(texts)):
                probabilities(row)
    except InferenceError as exc:
        raise ModelLoadError(f"The model failed its warm-up: {exc}", code="warm_up_failed") from exc


def run_canary(backend: Backend) -> list[float]:
    """Probabilities of the canary text, one for each label.

    The text is run alone and beside a longer one; a model that answers differently because of its neighbours
    (a broken padding mask) must not serve. Raises ModelLoadError (canary_failed).
    """
    try:
        alone, beside = (
            probabilities(run_batch(backend, backend.encode(texts))[0]).tolist()
            for texts in ([CANARY_TEXT], [CANARY_TEXT, f"{CANARY_TEXT} {CANARY_TEXT}"])
        )
    except InferenceError as exc:
        raise ModelLoadError(f"The canary failed: {exc}", code="canary_failed") from exc
    check_canary(beside, alone, what="its answer when run alone")
    scores: list[float] = alone
    return scores


def check_canary(
    scores: Sequence[float], reference: Sequence[float], *, what: str = "the stored reference"
) -> None:
    """Raise ModelLoadError (canary_failed) unless the scores equal the reference within `TOLERANCE`."""
    far = len(scores) != len(reference) or any(
        abs(a - b) > TOLERANCE for a, b in zip(scores, reference, strict=True)
    )
    if far:
        raise ModelLoadError(
            f"The canary's answer differs from {what} by more than {TOLERANCE}.", code="canary_failed"
        )
