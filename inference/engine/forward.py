"""One forward pass, with whatever the library throws turned into one typed error."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inference.engine.backend import Backend, Encoding
from inference.engine.errors import InferenceError, describe_error
from inference.engine.postprocess import check_shape

logger = logging.getLogger(__name__)


def run_batch(backend: Backend, batch: Sequence[Encoding]) -> NDArray[np.float32]:
    """Logits of the batch, shape (len(batch), labels).

    Raises InferenceError when the forward pass fails (out of memory included), InferenceOutputError for a
    wrong shape.
    """
    try:
        logits = backend.forward(batch)
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
        raise InferenceError(f"The forward pass failed ({type(exc).__name__}).") from exc
    check_shape(logits, len(batch), backend.labels)
    return logits
