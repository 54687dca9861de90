"""Figures for Prometheus: of the replica (open, no names in it) and of each model (for those who may use it).

Counted in plain numbers on the event loop, several in each request; what Prometheus reads is made when it asks.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import OrderedDict, defaultdict
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from inference.engine import Answer
from inference.server.manifest import ModelKey

_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_BOUNDS = [*(f"{bound:.1f}" for bound in _MS), "+Inf"]
_MAX_MODELS = 200
PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
_STAGES = ("tokenization", "queue", "inference")


class Times:
    """A histogram of milliseconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts, self.total = [0] * len(_BOUNDS), 0.0

    def observe(self, ms: float) -> None:
        self.counts[bisect_left(_MS, ms)] += 1
        self.total += ms

    def buckets(self) -> list[tuple[str, float]]:
        found, below = [], 0
        for bound, count in zip(_BOUNDS, self.counts, strict=True):
            below += count
            found.append((bound, float(below)))
        return found


class ModelFigures(Collector):
    """What one revision has answered since the process started."""

    def __init__(self) -> None:
        self.since = time.time()
        self.inputs = self.tokens = self.truncated = 0
        self.stages = [Times() for _ in _STAGES]
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        for name, sentence, value in (
            ("assay_inputs", "Inputs answered.", self.inputs),
            ("assay_tokens", "Tokens of the answered inputs.", self.tokens),
            ("assay_truncated_inputs", "Inputs that were cut.", self.truncated),
        ):
            yield CounterMetricFamily(name, sentence, value=value, created=self.since)
        for name, times in zip(_STAGES, self.stages, strict=True):
            sentence = f"Time of a request in {name}."
            yield HistogramMetricFamily(
                f"assay_{name}_ms", sentence, buckets=times.buckets(), sum_value=times.total
            )


class Metrics(Collector):
    """All figures of one process. Touched on the event loop only."""

    def __init__(self) -> None:
        self.since = time.time()
        self.requests: dict[tuple[str, int], int] = defaultdict(int)
        self.durations: dict[str, Times] = defaultdict(Times)
        self.in_flight = 0
        self.models: dict[str, int] = {}
        self._models: OrderedDict[ModelKey, ModelFigures] = OrderedDict()
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def request(self, protocol: str, status: int, ms: float) -> None:
        """One request was answered."""
        self.requests[protocol, status] += 1
        self.durations[protocol].observe(ms)

    def of(self, key: ModelKey) -> ModelFigures:
        figures = self._models.get(key)
        if figures is None:
            figures = self._models[key] = ModelFigures()
            if len(self._models) > _MAX_MODELS:
                self._models.popitem(last=False)
        self._models.move_to_end(key)
        return figures

    def answered(self, key: ModelKey, answer: Answer, tokens: int, truncated: int) -> None:
        figures = self.of(key)
        figures.inputs += len(answer.results)
        figures.tokens += tokens
        figures.truncated += truncated
        first, second, third = figures.stages
        first.observe(answer.tokenization_ms)
        second.observe(answer.queue_ms)
        third.observe(answer.inference_ms)

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("assay_requests", "Requests answered.", labels=("protocol", "status"))
        for (protocol, status), count in self.requests.items():
            requests.add_metric((protocol, str(status)), count, created=self.since)
        yield requests
        durations = HistogramMetricFamily(
            "assay_request_ms", "Time from the first byte to the answer.", labels=("protocol",)
        )
        for protocol, times in self.durations.items():
            durations.add_metric((protocol,), times.buckets(), sum_value=times.total)
        yield durations
        yield GaugeMetricFamily("assay_requests_in_flight", "Requests being answered.", value=self.in_flight)
        models = GaugeMetricFamily("assay_models", "Slots by state.", labels=("state",))
        for state, number in self.models.items():
            models.add_metric((state,), number)
        yield models


def render(figures: ModelFigures | Metrics) -> bytes:
    return generate_latest(figures.registry)
