"""How fast is the revision on this machine? Latency, throughput, memory, cold start."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

from inference.engine.classifier import TextClassifier
from inference.engine.hardware import hardware, max_rss_mb, max_vram_mb, versions
from inference.engine.jobs.task import Progress, Task
from inference.engine.load import LoadedBackend, load_backend
from inference.engine.types import ClassifierConfig
from inference.stats import percentile

SCHEMA = 1
REFERENCE_LENGTH = 128


def run_benchmark(task: Task, progress: Progress) -> dict[str, Any]:
    """The result of contract C3, kind benchmark. Tokenising is inside every measured time, as in service."""
    texts = task.texts("texts")
    batch_sizes = task.sizes("batch_sizes", [1, 8, 16])
    max_lengths = task.sizes("max_lengths", [64, 128, 256])
    repeats, warmup = task.size("repeats", 5), task.size("warmup", 3, least=0)

    progress("load", 0, 1)
    config = ClassifierConfig(
        task.snapshot, task.model_id, task.commit_sha, max_length=max(*max_lengths, REFERENCE_LENGTH)
    )
    backend = load_backend(config)
    TextClassifier(config, backend=backend).warm_up()
    cold_start_s = time.monotonic() - task.started
    progress("load", 1, 1)

    # The single-text latency of the summary is a cell of its own when the grid does not hold it.
    cells = [(length, size) for length in max_lengths for size in batch_sizes]
    wanted = list(dict.fromkeys([*cells, (REFERENCE_LENGTH, 1)]))
    measured: dict[tuple[int, int], dict[str, Any]] = {}
    single: list[float] = []
    for number, (length, size) in enumerate(wanted):
        progress("measure", number, len(wanted))
        latencies, cell = _measure(config, backend, texts, length, size, repeats, warmup)
        measured[length, size] = cell
        if (length, size) == (REFERENCE_LENGTH, 1):
            single = latencies
    progress("measure", len(wanted), len(wanted))

    comparable = [cell for (length, _), cell in measured.items() if length == REFERENCE_LENGTH]
    best = max(comparable, key=lambda cell: float(cell["throughput_texts_s"]))
    return {
        "schema": SCHEMA,
        "hardware": hardware(backend.device),
        "versions": versions(),
        "variant": str(backend.variant),
        "cold_start_s": round(cold_start_s, 3),
        "max_rss_mb": max_rss_mb(),
        "max_vram_mb": max_vram_mb(),
        "latency_p50_ms": round(percentile(single, 50), 3),
        "latency_p95_ms": round(percentile(single, 95), 3),
        "latency_p99_ms": round(percentile(single, 99), 3),
        "throughput_texts_s": best["throughput_texts_s"],
        "tokens_s": best["tokens_s"],
        "grid": [measured[cell] for cell in dict.fromkeys(cells)],
        "texts": len(texts),
        "repeats": repeats,
    }


def _measure(
    config: ClassifierConfig,
    backend: LoadedBackend,
    texts: list[str],
    max_length: int,
    batch_size: int,
    repeats: int,
    warmup: int,
) -> tuple[list[float], dict[str, Any]]:
    """Every batch's latency (ms) and the grid's cell, over `repeats` passes through the texts."""
    cut = backend.with_max_length(max_length)
    classifier = TextClassifier(replace(config, batch_size=batch_size), backend=cut)
    batches = _full_batches(texts, batch_size)
    for batch in islice(cycle(batches), warmup):
        classifier.predict(batch)
    latencies: list[float] = []
    tokens = 0
    for _ in range(repeats):
        for batch in batches:
            started = time.perf_counter()
            result = classifier.predict(batch)
            latencies.append((time.perf_counter() - started) * 1000)
            tokens += sum(prediction.token_count for prediction in result.predictions)
    spent_s = sum(latencies) / 1000
    return latencies, {
        "max_length": max_length,
        "effective_max_length": cut.max_length,
        "batch_size": batch_size,
        "latency_p50_ms": round(percentile(latencies, 50), 3),
        "latency_p95_ms": round(percentile(latencies, 95), 3),
        "throughput_texts_s": round(len(latencies) * batch_size / spent_s, 2),
        "tokens_s": round(tokens / spent_s, 1),
    }


def _full_batches(texts: list[str], size: int) -> list[list[str]]:
    """The texts in batches of exactly `size`: the last one is filled from the beginning again, because a
    short batch would be measured as a fast one."""
    count = -(-len(texts) // size)
    stream = cycle(texts)
    return [list(islice(stream, size)) for _ in range(count)]
