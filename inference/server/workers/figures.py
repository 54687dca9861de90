"""Metrics of several processes as one answer: counters and histograms add up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

# [name, documentation, type, [[sample, labels, value], ...]], as JSON.
Families = list[list[Any]]


def export(registry: CollectorRegistry) -> Families:
    return [
        [m.name, m.documentation, m.type, [[s.name, s.labels, s.value] for s in m.samples]]
        for m in registry.collect()
    ]


def add_up(all_families: Iterable[Families]) -> Families:
    """Sums by sample; of times of creation the earliest."""
    names: dict[str, list[Any]] = {}
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for families in all_families:
        for name, documentation, kind, samples in families:
            names.setdefault(name, [name, documentation, kind])
            found = sums.setdefault(name, {})
            for sample, labels, value in samples:
                key = (sample, tuple(sorted(labels.items())))
                if sample.endswith("_created"):
                    found[key] = min(found.get(key, value), value)
                else:
                    found[key] = found.get(key, 0.0) + value
    return [
        [*head, [[sample, dict(labels), value] for (sample, labels), value in sums[name].items()]]
        for name, head in names.items()
    ]


def render_families(families: Families) -> bytes:
    """In the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(_Ready(families))
    return generate_latest(registry)


class _Ready(Collector):
    def __init__(self, families: Families) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for name, documentation, kind, samples in self._families:
            metric = Metric(name, documentation, kind)
            for sample, labels, value in samples:
                metric.add_sample(sample, labels, value)
            yield metric
