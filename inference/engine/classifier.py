"""The lesson's inference wrapper: load once, then classify lists of texts in the caller's own thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

from inference.engine.backend import Backend
from inference.engine.forward import run_batch
from inference.engine.load import load_backend
from inference.engine.plan import plan_batches
from inference.engine.postprocess import to_prediction
from inference.engine.types import BatchResult, ClassifierConfig, Prediction
from inference.engine.validate import check_fits, check_texts, check_top_k
from inference.engine.warm_up import warm_up

logger = logging.getLogger(__name__)


class TextClassifier:
    """A text classifier loaded from a local snapshot.

    Raises ModelLoadError from the constructor and from `warm_up`. For many callers at once use `Engine`,
    which lets them share batches; here a lock keeps forward passes one after another.
    """

    def __init__(self, config: ClassifierConfig, *, backend: Backend | None = None) -> None:
        self.config = config
        self.backend = backend if backend is not None else load_backend(config)
        self.ready = False
        self._lock = threading.Lock()

    @property
    def device(self) -> str:
        return self.backend.device

    @property
    def labels(self) -> tuple[str, ...]:
        return self.backend.labels

    def warm_up(self) -> None:
        """Run the first, slow passes now and check the canary; `ready` is True afterwards."""
        with self._lock:
            warm_up(self.backend)
        self.ready = True

    def predict(
        self, texts: Sequence[str], *, top_k: int | None = None, truncate: bool = True
    ) -> BatchResult:
        """Classify the texts; predictions come in their order.

        `top_k` adds the most probable labels with their confidences. With `truncate=False` a text that does
        not fit is refused instead of cut. Raises InferenceInputError, InferenceError, InferenceOutputError.
        """
        started = time.perf_counter()
        checked = check_texts(texts)
        check_top_k(top_k)
        encodings = self.backend.encode(checked)
        if not truncate:
            check_fits([e.truncated for e in encodings], self.backend.max_length)
        tokenised = time.perf_counter()

        predictions: list[Prediction | None] = [None] * len(encodings)
        with self._lock:
            for batch in plan_batches(
                [len(e) for e in encodings], max_rows=self.config.batch_size, pads=self.backend.pads
            ):
                logits = run_batch(self.backend, [encodings[i] for i in batch])
                for row, i in zip(logits, batch, strict=True):
                    predictions[i] = to_prediction(
                        row, encodings[i], self.backend.labels, top_k, self.backend.head.activation
                    )
        ended = time.perf_counter()

        result = BatchResult(
            predictions=[prediction for prediction in predictions if prediction is not None],
            model_id=self.config.model_id,
            commit_sha=self.config.commit_sha,
            device=self.device,
            latency_ms=round((ended - started) * 1000, 2),
            tokenization_ms=round((tokenised - started) * 1000, 2),
            inference_ms=round((ended - tokenised) * 1000, 2),
        )
        logger.info(
            "model_inference",
            extra={
                "model_id": result.model_id,
                "commit_sha": result.commit_sha,
                "device": result.device,
                "texts": len(encodings),
                "tokens": sum(len(e) for e in encodings),
                "latency_ms": result.latency_ms,
            },
        )
        return result
