"""The engine on one CUDA device, self-contained: correctness first, then figures. From the repository's root:

    python -m benchmarks.gpu [--texts 200000] [--processes 14]

Needs torch, transformers, tokenizers, safetensors and numpy; no network, no Django. Takes two to four minutes. The last line is
one JSON object: what agreed with transformers in fp32, texts/s from raw texts to labels (tokenising included), texts/s on
pre-tokenised input with its share of the measured bf16 limit, and where the time goes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

SHA = "a" * 40
# Multiply-adds of one token in one of six layers of 768 x 12 (as performance figures count them), times two.
LAYER_FLOPS = 2 * 12 * 768 * 768
LAYERS = 6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=200_000)
    parser.add_argument("--processes", type=int, default=max(2, (os.cpu_count() or 4) - 2))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "assay-bench")
    options = parser.parse_args()
    import torch

    from benchmarks.models import build, texts

    if not torch.cuda.is_available():
        print(json.dumps({"error": "no CUDA device"}))
        return 1
    result: dict[str, Any] = {
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cores": os.cpu_count(),
    }
    started = time.perf_counter()
    snapshot = build(options.folder, "distil")
    made = texts(20_000)
    result["limit_tflops"] = attempt(result, "limit", lambda: round(gemm_limit() / 1e12, 1))
    for name, step in {
        "correct": lambda: correctness(snapshot, made[:1_000]),
        "families": families,
        "pretokenised": lambda: pretokenised(snapshot, made, result["limit_tflops"]),
        "bulk": lambda: bulk(snapshot, made, options.texts, options.processes),
        "engine": lambda: engine(snapshot, made[:4_000]),
        "profile": lambda: profile(snapshot, made),
    }.items():
        result[name] = attempt(result, name, step)
        print(name, json.dumps(result[name]), flush=True)
    result["seconds"] = round(time.perf_counter() - started, 1)
    print(json.dumps(result))
    return 1 if result.get("errors") else 0


def attempt(result: dict[str, Any], name: str, step: Callable[[], Any]) -> Any:
    """One step's figures; a step that fails leaves its error and the others go on."""
    try:
        return step()
    except Exception as exc:
        traceback.print_exc()
        result.setdefault("errors", {})[name] = f"{type(exc).__name__}: {exc}"[:300]
        return None


def load(snapshot: Path, precision: Any = "bf16", backend: Any = "packed", task: str = "") -> Any:
    from inference.engine import ClassifierConfig, load_backend

    return load_backend(
        ClassifierConfig(snapshot, "bench/model", SHA, task=task, precision=precision, backend=backend)
    )


def gemm_limit() -> float:
    """FLOP/s of a large bf16 product of the model's own widths: the best of them."""
    import torch

    best = 0.0
    for inner, outer in ((768, 3072), (3072, 768), (8192, 8192)):
        a = torch.randn(65_536 if inner < 8192 else 8192, inner, device="cuda", dtype=torch.bfloat16)
        b = torch.randn(inner, outer, device="cuda", dtype=torch.bfloat16)
        seconds = timed(partial(torch.matmul, a, b), 20)
        best = max(best, 2 * len(a) * inner * outer / seconds)
    return best


def timed(step: Callable[[], Any], times: int) -> float:
    """Seconds of one step, the device drained before and after."""
    import torch

    for _ in range(3):
        step()
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(times):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - started) / times


def correctness(snapshot: Path, texts: list[str]) -> dict[str, Any]:
    """Packed bf16 and fp16 on the device against the reference in fp32 on the same texts."""
    import numpy as np

    from inference.engine.postprocess import probabilities

    def chances(backend: Any) -> Any:
        encodings = backend.encode(texts)
        rows: list[Any] = []
        for start in range(0, len(encodings), 250):
            rows += list(backend.forward(encodings[start : start + 250]))
        return np.array([probabilities(row) for row in rows])

    wanted = chances(load(snapshot, "fp32", "reference"))
    out: dict[str, Any] = {}
    for precision in ("fp32", "bf16", "fp16"):
        started = time.perf_counter()
        backend = load(snapshot, precision)
        loaded = time.perf_counter() - started
        got = chances(backend)
        sure = np.abs(wanted[:, 0] - wanted[:, 1]) > 0.1
        out[precision] = {
            "variant": str(backend.variant),
            "load_s": round(loaded, 2),
            "max_difference": float(f"{np.abs(got - wanted).max():.2g}"),
            "labels_differ": int((got.argmax(1) != wanted.argmax(1)).sum()),
            "labels_differ_of_sure": int((got.argmax(1) != wanted.argmax(1))[sure].sum()),
            "texts": len(texts),
        }
    return out


def families() -> dict[str, str]:
    """Every architecture and head, packed in bf16: what its canary says (tiny random models, as in the tests)."""
    sys.path.insert(0, str(Path.cwd()))
    from tests.engine.families import FAMILIES, HEADS, TASK, build_family

    out = {}
    with tempfile.TemporaryDirectory() as folder:
        for family in FAMILIES:
            for head in HEADS:
                snapshot = build_family(
                    Path(folder) / f"{family}-{head}", family, head, initializer_range=0.1
                )
                try:
                    out[f"{family}-{head}"] = str(load(snapshot, "bf16", "packed", TASK[head]).variant)
                except Exception as exc:
                    out[f"{family}-{head}"] = f"{type(exc).__name__}: {exc}"[:160]
    return out


def flat_batches(backend: Any, texts: list[str], tokens: int) -> list[tuple[Any, Any]]:
    """(ids, lengths) of consecutive texts, about so many tokens each."""
    import numpy as np

    batches, ids, lengths = [], [], []
    for encoding in backend.encode(texts):
        ids.append(np.array(encoding.input_ids, dtype=np.int64))
        lengths.append(len(encoding))
        if sum(lengths) >= tokens:
            batches.append((np.concatenate(ids), np.array(lengths)))
            ids, lengths = [], []
    return batches or [(np.concatenate(ids), np.array(lengths))]


def run_all(backend: Any, batches: list[tuple[Any, Any]]) -> None:
    for ids, lengths in batches:
        backend.forward_flat(ids, lengths)


def pretokenised(snapshot: Path, texts: list[str], limit: float | None) -> dict[str, Any]:
    """texts/s of the forward pass alone, token ids on the host, three rounds of each batch size, medians."""
    import numpy as np

    backend = load(snapshot)
    mean = float(np.mean([len(e) for e in backend.encode(texts)]))
    flops = mean * LAYER_FLOPS * LAYERS
    out: dict[str, Any] = {"mean_tokens": round(mean, 1)}
    for tokens in (16_384, 65_536, 131_072, 262_144):
        batches = flat_batches(backend, texts, tokens)
        count = sum(len(lengths) for _, lengths in batches)
        rounds = [timed(partial(run_all, backend, batches), 3) for _ in range(3)]
        speed = count / statistics.median(rounds)
        out[str(tokens)] = {
            "texts_s": round(speed),
            "of_limit": None if not limit else round(speed * flops / (limit * 1e12), 3),
        }
    return out


def bulk(snapshot: Path, texts: list[str], count: int, processes: int) -> dict[str, Any]:
    """Raw texts in, labels out: tokenising, transfers and answers included. Three rounds, the median; and tokenising alone."""
    from inference.engine.bulk import Bulk

    backend = load(snapshot)
    many = (texts * (count // len(texts) + 1))[:count]
    out: dict[str, Any] = {"processes": processes, "texts": count}
    for number in dict.fromkeys((processes, max(1, processes // 2))):
        work = Bulk(backend, processes=number)
        try:
            list(work.classify(many[: number * 4096]))
            speeds = []
            for _ in range(3):
                started = time.perf_counter()
                labels = sum(len(part.labels) for part in work.classify(many))
                speeds.append(labels / (time.perf_counter() - started))
                assert labels == count
            started = time.perf_counter()
            tokens = sum(len(part.ids) for part in work._encoded(many))
            alone = count / (time.perf_counter() - started)
        finally:
            work.close()
        out[f"{number}_processes"] = {
            "texts_s": round(statistics.median(speeds)),
            "tokens_s": round(statistics.median(speeds) * tokens / count),
            "tokenise_only_texts_s": round(alone),
        }
    return out


def engine(snapshot: Path, texts: list[str]) -> dict[str, Any]:
    """Through the queue: requests of 32 texts from 16 threads, and one text at a time."""
    from concurrent.futures import ThreadPoolExecutor

    from inference.engine import Engine, EngineLimits

    work = Engine(
        load(snapshot), limits=EngineLimits(max_queued_inputs=100_000, max_rows=4096, max_wait_s=60)
    )
    work.start()
    try:
        groups = [texts[i : i + 32] for i in range(0, len(texts), 32)] * 5
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(work.classify, groups[:100]))
            started = time.perf_counter()
            answered = sum(len(a.predictions) for a in pool.map(work.classify, groups))
            batched = answered / (time.perf_counter() - started)
        single = []
        for text in texts[:300]:
            started = time.perf_counter()
            work.classify([text])
            single.append((time.perf_counter() - started) * 1000)
    finally:
        work.close()
    return {
        "batches_of_32_texts_s": round(batched),
        "single_p50_ms": round(statistics.median(single), 2),
        "single_p95_ms": round(statistics.quantiles(single, n=20)[18], 2),
    }


def profile(snapshot: Path, texts: list[str]) -> list[str]:
    """The dozen kernels that take the device's time in one batch of 131,072 tokens."""
    import torch

    backend = load(snapshot)
    [(ids, lengths), *_] = flat_batches(backend, texts, 131_072)
    backend.forward_flat(ids, lengths)
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as trace:
        backend.forward_flat(ids, lengths)
        torch.cuda.synchronize()
    rows = sorted(trace.key_averages(), key=lambda row: -row.self_device_time_total)[:12]
    return [f"{row.self_device_time_total / 1000:.2f} ms x{row.count} {row.key[:70]}" for row in rows]


if __name__ == "__main__":
    sys.exit(main())
