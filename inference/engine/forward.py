"""One forward pass, with whatever the library throws turned into one typed error."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from inference.engine.backend import Backend, Encoding, Numbers
from inference.engine.errors import InferenceError, InferenceOutOfMemory, describe_error, ran_out_of_memory
from inference.engine.postprocess import check_shapes

logger = logging.getLogger(__name__)


def run_batch(backend: Backend, batch: Sequence[Encoding]) -> Numbers:
    """One array for each encoding.

    Raises InferenceOutOfMemory when a smaller batch may pass, InferenceError when the forward pass fails
    otherwise, InferenceOutputError for a wrong shape.
    """
    try:
        rows = backend.forward(batch)
    except Exception as exc:
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
        raise kind(f"The forward pass failed ({type(exc).__name__}).") from exc
    check_shapes(rows, batch, backend.head)
    return rows
