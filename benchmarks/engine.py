"""The engine in process on this machine's CPU, beside transformers: texts/s, and how much of the machine that is.

    python -m benchmarks.engine [--texts 128] [--rounds 3] [--threads 2] [--folder DIR]

Interleaved rounds (packed, reference, pipeline ...), medians, tokenising included. Prints one JSON object. `of_limit` is
the share of the matrix products' speed measured in the same run, counted at true length (no padding, every layer whole).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.models import build, texts

SHA = "a" * 40
LAYER_FLOPS = 2 * 12 * 768 * 768
LAYERS = 6
Run = Callable[[list[str]], Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "assay-bench")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    snapshot = build(options.folder, "distil")
    some = texts()[: options.texts]
    variants, runs = make_runs(snapshot, options.folder)
    tokens = sum(len(e) for e in variants["packed_fp32"].encode(some))
    mean_flops = tokens / len(some) * LAYER_FLOPS * LAYERS
    limits = {"fp32": gemm_limit(torch.float32)}
    if "packed_bf16" in runs:
        limits["bf16"] = gemm_limit(torch.bfloat16)
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(some[:8])
    for _ in range(options.rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run(some if not name.endswith("one_by_one") else some[: len(some) // 4])
            count = len(some) if not name.endswith("one_by_one") else len(some) // 4
            speeds[name].append(count / (time.perf_counter() - started))
    print(
        json.dumps(
            {
                "threads": options.threads,
                "capability": torch.backends.cpu.get_cpu_capability(),
                "texts": len(some),
                "mean_tokens": round(tokens / len(some), 1),
                "limit_gflops": {name: round(value / 1e9) for name, value in limits.items()},
                "texts_s": {name: round(statistics.median(found), 1) for name, found in speeds.items()},
                "of_limit": {
                    name: round(statistics.median(found) * mean_flops / limits[name.split("_")[1]], 2)
                    for name, found in speeds.items()
                    if name.startswith("packed") and not name.endswith("one_by_one")
                },
                "bf16": "packed_bf16" in runs or "this CPU has no bf16 instructions",
                "first_answer_s": first_answer(snapshot, options.folder),
            }
        )
    )
    return 0


def make_runs(snapshot: Path, folder: Path) -> tuple[dict[str, Any], dict[str, Run]]:
    """What is measured, by name."""
    from transformers import pipeline

    from inference.engine import ClassifierConfig, ModelLoadError, TextClassifier, load_backend

    def config(**changes: Any) -> ClassifierConfig:
        return ClassifierConfig(
            snapshot,
            "bench/model",
            SHA,
            batch_size=64,
            digest="bench",
            canaries=folder / "canaries",
            **changes,
        )

    variants: dict[str, Any] = {"packed_fp32": load_backend(config(backend="packed"))}
    try:
        variants["packed_bf16"] = load_backend(config(backend="packed", precision="bf16"))
    except ModelLoadError as exc:
        print(f"no bf16: {exc}", file=sys.stderr)
    variants["reference_fp32"] = load_backend(config(backend="reference"))
    runs: dict[str, Run] = {name: run_batches(backend) for name, backend in variants.items()}
    for name in [name for name in variants if name.startswith("packed")]:
        runs[f"{name}_one_by_one"] = run_singly(TextClassifier(config(), backend=variants[name]))
    naive = pipeline("text-classification", str(snapshot), truncation=True, max_length=128)
    runs["pipeline_fp32_16"] = lambda some: naive(some, batch_size=16)
    runs["pipeline_fp32_one_by_one"] = lambda some: [naive(text) for text in some]
    return variants, runs


def run_singly(classifier: Any) -> Run:
    return lambda some: [classifier.predict([text]) for text in some]


def run_batches(backend: Any) -> Run:
    """As the engine's queue does: cut by the backend's token budget."""
    from inference.engine.plan import plan_batches

    def run(some: list[str]) -> None:
        encodings = backend.encode(some)
        for batch in plan_batches(
            [len(e) for e in encodings], max_rows=64, token_budget=backend.token_budget, pads=backend.pads
        ):
            backend.forward([encodings[i] for i in batch])

    return run


def gemm_limit(dtype: Any) -> float:
    """FLOP/s of the library's product, weights reordered where it does that: the best of the model's shapes."""
    import torch

    from inference.engine.packed.dense import make_dense

    best = 0.0
    for inner, outer in ((768, 3072), (3072, 768), (768, 2304)):
        x = torch.randn(1024, inner, dtype=dtype)
        dense = make_dense(torch.randn(outer, inner, dtype=dtype), torch.zeros(outer, dtype=dtype))
        for _ in range(12):
            started = time.perf_counter()
            dense(x)
            best = max(best, 2 * 1024 * inner * outer / (time.perf_counter() - started))
    return best


def first_answer(snapshot: Path, folder: Path) -> float:
    """Seconds from the start of a Python process to its first answer, the reference's answers being kept already."""
    code = (
        "from pathlib import Path\nfrom inference.engine import ClassifierConfig, Engine\n"
        "from inference.engine.process import load_in_processes\n"
        f"config = ClassifierConfig(Path({str(snapshot)!r}), 'bench/model', {SHA!r}, digest='bench',\n"
        f"    canaries=Path({str(folder / 'canaries')!r}))\n"
        "engine = Engine(load_in_processes(config))\nengine.start()\nengine.classify(['now'])\nprint('answered', flush=True)\n"
        "engine.close()\n"
    )
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    seconds = time.perf_counter() - started
    process.wait()
    return round(seconds, 2)


if __name__ == "__main__":
    sys.exit(main())
