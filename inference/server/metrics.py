"""Figures for Prometheus: of the replica (open, no names in it) and of each model (for those who may use it)."""

from __future__ import annotations

from collections import OrderedDict

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from inference.engine import Answer
from inference.server.manifest import ModelKey

_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_MAX_MODELS = 200


class ModelFigures:
    """What one revision has answered since the process started."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.inputs = Counter("assay_inputs", "Inputs answered.", registry=self.registry)
        self.tokens = Counter("assay_tokens", "Tokens of the answered inputs.", registry=self.registry)
        self.truncated = Counter("assay_truncated_inputs", "Inputs that were cut.", registry=self.registry)
        names = ("tokenization", "queue", "inference")
        self.stages = [
            Histogram(
                f"assay_{name}_ms", f"Time of a request in {name}.", buckets=_MS, registry=self.registry
            )
            for name in names
        ]


class Metrics:
    """All figures of one process. Touched on the event loop only."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("protocol", "status")
        self.requests = Counter("assay_requests", "Requests answered.", labels, registry=self.registry)
        self.duration = Histogram(
            "assay_request_ms", "Time from the first byte to the answer.", ("protocol",), buckets=_MS,
            registry=self.registry,
        )  # fmt: skip
        self.in_flight = Gauge("assay_requests_in_flight", "Requests being answered.", registry=self.registry)
        self.models = Gauge("assay_models", "Slots by state.", ("state",), registry=self.registry)
        self._models: OrderedDict[ModelKey, ModelFigures] = OrderedDict()

    def of(self, key: ModelKey) -> ModelFigures:
        figures = self._models.get(key)
        if figures is None:
            figures = self._models[key] = ModelFigures()
            if len(self._models) > _MAX_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return figures

    def answered(self, key: ModelKey, answer: Answer) -> None:
        figures = self.of(key)
        figures.inputs.inc(len(answer.results))
        figures.tokens.inc(sum(result.token_count for result in answer.results))
        figures.truncated.inc(sum(result.truncated for result in answer.results))
        times = (answer.tokenization_ms, answer.queue_ms, answer.inference_ms)
        for histogram, spent in zip(figures.stages, times, strict=True):
            histogram.observe(spent)


def render(figures: ModelFigures | Metrics) -> bytes:
    return generate_latest(figures.registry)
