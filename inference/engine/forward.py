"""One forward pass, with whatever the library throws turned into one typed error."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from inference.engine.backend import Backend, Encoding, LoopBackend, Numbers
from inference.engine.errors import InferenceError, InferenceOutOfMemory, describe_error, ran_out_of_memory
from inference.engine.postprocess import check_shapes

T = TypeVar("T")

logger = logging.getLogger(__name__)


def run_batch(backend: Backend, batch: Sequence[Encoding]) -> Numbers:
    """One array for each encoding.

    Raises InferenceOutOfMemory when a smaller batch may pass, InferenceError when the forward pass fails
    otherwise, InferenceOutputError for a wrong shape.
    """
    return read_batch(backend, batch, _attempt(backend.forward, batch))


def begin_batch(backend: LoopBackend, batch: Sequence[Encoding]) -> Numbers | None:
    """As `run_batch` where the numbers are there at once; None: the backend tells of them later."""
    answer = _attempt(backend.begin, batch)
    return None if answer is None else read_batch(backend, batch, answer)


def read_batch(backend: Backend, batch: Sequence[Encoding], answer: Numbers | BaseException) -> Numbers:
    """What a backend told of later. Raises as `run_batch`."""
    if isinstance(answer, Exception):
        raise _typed_error(backend, batch, answer) from answer
    if isinstance(answer, BaseException):
        raise answer
    check_shapes(answer, batch, backend.head)
    return answer


def _typed_error(backend: Backend, batch: Sequence[Encoding], exc: Exception) -> InferenceError:
    """What callers are told of a forward pass that failed; the log gets more."""
    logger.error(
        "model_inference_failed",
        extra={
            "error": describe_error(exc),
            "rows": len(batch),
            "tokens": sum(len(encoding) for encoding in batch),
            "device": backend.device,
        },
    )
    kind = InferenceOutOfMemory if ran_out_of_memory(exc) else InferenceError
    return kind(f"The forward pass failed ({type(exc).__name__}).")


def _attempt(compute: Callable[[Sequence[Encoding]], T], batch: Sequence[Encoding]) -> T | Exception:
    """What it gives, or throws."""
    try:
        return compute(batch)
    except Exception as exc:
        return exc
