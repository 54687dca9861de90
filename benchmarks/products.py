"""How fast this CPU multiplies: the physical limit of every figure of the engine.

    python -m benchmarks.products [--threads 1,2] [--rounds 5]

fp32, bf16 and int8 through oneDNN with weights reordered once, as the packed encoder uses them, at the shapes of `distil`;
rounds are interleaved, medians. `int8` is the bare product of bytes; `int8_whole` what a dense layer would cost: tokens scaled
one by one, rounded, multiplied, scaled back, bias added. Prints one JSON object, GFLOP/s.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

SHAPES = ((768, 768), (768, 2304), (768, 3072), (3072, 768))
ROWS = (32, 64, 256, 512, 1024)
Call = Callable[[], Any]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--cpu-time", action="store_true", help="the clock of a busy machine: processor time, one thread"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(measure(int(options.threads), options.rounds, cpu_time=options.cpu_time)))
        return 0
    found = {
        threads: json.loads(
            subprocess.run(
                [
                    *(sys.executable, "-m", "benchmarks.products", "--inside"),
                    *("--threads", threads, "--rounds", str(options.rounds)),
                    *(["--cpu-time"] if options.cpu_time else []),
                ],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        )
        for threads in options.threads.split(",")
    }
    print(json.dumps({"benchmark": "products", "best_gflops": best(found), "gflops": found}))
    return 0


def best(found: dict[str, Any]) -> dict[str, dict[str, int]]:
    """The fastest shape of each precision, by number of threads."""
    return {
        threads: {
            name: max(speed for rows in shapes.values() for speed in rows.values())
            for name, shapes in names.items()
        }
        for threads, names in found.items()
    }


def measure(threads: int, rounds: int, *, cpu_time: bool) -> dict[str, dict[str, dict[str, int]]]:
    """{precision: {"768x3072": {rows: GFLOP/s}}}, medians."""
    import torch

    if cpu_time and threads > 1:
        sys.exit("Processor time says how fast one thread is, not several: --threads 1.")
    clock = time.process_time if cpu_time else time.perf_counter
    torch.set_num_threads(threads)
    result: dict[str, dict[str, dict[str, int]]] = {}
    for inner, outer in SHAPES:
        for rows in ROWS:
            calls = make_calls(inner, outer, rows)
            flops = 2 * rows * inner * outer
            repeats = max(3, int(4e9 / flops))
            times: dict[str, list[float]] = {name: [] for name in calls}
            with torch.inference_mode():
                for call in calls.values():
                    call()
                for _ in range(rounds):
                    for name, call in calls.items():
                        started = clock()
                        for _ in range(repeats):
                            call()
                        times[name].append((clock() - started) / repeats)
            for name, spent in times.items():
                shape = result.setdefault(name, {}).setdefault(f"{inner}x{outer}", {})
                shape[str(rows)] = round(flops / statistics.median(spent) / 1e9)
    return result


def make_calls(inner: int, outer: int, rows: int) -> dict[str, Call]:
    """One dense layer in each precision that this CPU has."""
    import torch

    from inference.engine.device import has_half
    from inference.engine.packed.dense import make_dense

    x, weight, bias = torch.randn(rows, inner), torch.randn(outer, inner) / inner**0.5, torch.randn(outer)
    plain = make_dense(weight, bias)
    calls: dict[str, Call] = {"fp32": lambda: plain(x)}
    if has_half(torch.device("cpu"), torch.bfloat16):
        half, x_half = make_dense(weight.bfloat16(), bias.bfloat16()), x.bfloat16()
        calls["bf16"] = lambda: half(x_half)
        product = make_int8(weight)
        whole = make_int8_whole(weight, bias)
        bytes_ = torch.randint(1, 256, (rows, inner), dtype=torch.uint8)
        calls["int8"] = lambda: product(bytes_)
        calls["int8_whole"] = lambda: whole(x_half)
    return calls


def make_int8(weight: Any) -> Callable[[Any], Any]:
    """Bytes around 128 -> their product with the weights' bytes, scaled by output, bf16. Unsigned ones: for signed ones
    the library falls back to a loop that is a thousand times slower."""
    import torch

    scales = weight.abs().amax(1) / 127
    packed = torch.ops.onednn.qlinear_prepack((weight / scales[:, None]).round().to(torch.int8), None)
    zeros = torch.zeros(len(weight), dtype=torch.int32)
    run = torch.ops.onednn.qlinear_pointwise.default
    scales = scales.float()
    return lambda x: run(x, 1.0, 128, packed, scales, zeros, None, 1.0, 0, torch.bfloat16, "none", [], "")


def make_int8_whole(weight: Any, bias: Any) -> Callable[[Any], Any]:
    """bf16 rows -> bf16 rows, by way of bytes with a scale of its own for each token."""
    import torch

    product, offset = make_int8(weight), bias.bfloat16()

    def run(x: Any) -> Any:
        scale = x.abs().amax(1, keepdim=True).clamp_(min=1e-6) / 127
        return torch.addcmul(offset, product((x / scale).round_().add_(128).to(torch.uint8)), scale)

    return run


if __name__ == "__main__":
    sys.exit(main())
