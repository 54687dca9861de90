"""Our packed encoder beside OpenVINO and ONNX Runtime, in process: same model, texts and tokens, one run.

    python -m benchmarks.generic_engines [--texts 128] [--rounds 3] [--threads 2] [--engines packed-bf16,openvino-bf16,...]

They are installed into an environment of their own (var/generic-engines). The generic ones get what suits them: texts sorted by
length, batches of at most 1,024 tokens with padding. Rounds are interleaved, medians of texts a second, tokenising included;
`lone` is one text at a time in the order they came; `max_dp` the largest difference of a probability from transformers in fp32,
`flips` how many of the texts get another label. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

REQUIREMENTS = (
    "openvino==2026.4.1",
    "nncf==3.4.0",
    "onnxruntime==1.32.0",
    "onnx==1.23.2",
    "onnxscript==0.7.2",
)
ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "var" / "generic-engines"
MAX_LENGTH = 128
BUDGET = 1024
CALIBRATION_TEXTS = 300
# Lists of token ids -> logits, one row each.
Forward = Callable[[Sequence[Any]], Any]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument(
        "--cpu-time", action="store_true", help="the clock of a busy machine: processor time, one thread"
    )
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.engines.split(",")) - ENGINES.keys():
        sys.exit(f"Unknown engine {', '.join(sorted(unknown))}; there are {', '.join(ENGINES)}.")
    if not options.inside:
        from tools.side_venv import SideVenvError, build

        try:
            python = build(FOLDER / "venv", REQUIREMENTS)
        except SideVenvError as error:
            sys.exit(str(error))
        return subprocess.run(
            [str(python), "-m", "benchmarks.generic_engines", "--inside", *sys.argv[1:]],
            cwd=ROOT,
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
        ).returncode
    print(json.dumps(measure(options)))
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from benchmarks.models import texts

    names, count, rounds, threads = options.engines.split(","), options.texts, options.rounds, options.threads
    if options.cpu_time and (threads > 1 or "packed-bf16-lanes" in names):
        sys.exit("Processor time says how fast one thread of this process is: --threads 1, and no lanes.")
    clock = time.process_time if options.cpu_time else time.perf_counter
    torch.set_num_threads(threads)
    some = texts()[:count]
    expected = probabilities(reference()(encode(some)))
    refused: dict[str, str] = {}
    forwards: dict[str, tuple[Forward, bool]] = {}
    for name in names:
        make, pads = ENGINES[name]
        try:
            forwards[name] = make(threads), pads
        except Exception as exc:
            refused[name] = f"{type(exc).__name__}: {str(exc)[:300]}"
            print(f"{name}: {refused[name]}", file=sys.stderr)
    errors = {}
    for name, (forward, pads) in forwards.items():
        got = probabilities(answers(forward, some, pads))
        errors[name] = {
            "max_dp": round(float(abs(got - expected).max()), 6),
            "flips": int((got.argmax(1) != expected.argmax(1)).sum()),
        }
    speeds: dict[str, dict[str, list[float]]] = {name: {"crowd": [], "lone": []} for name in forwards}
    lone = some[: max(8, count // 4)]
    for turn in range(rounds):
        for name, (forward, pads) in forwards.items():
            started = clock()
            answers(forward, some, pads)
            speeds[name]["crowd"].append(count / (clock() - started))
            started = clock()
            for text in lone:
                forward(encode([text]))
            speeds[name]["lone"].append(len(lone) / (clock() - started))
            print(f"{turn + 1}/{rounds} {name}: {speeds[name]}", file=sys.stderr)
    return {
        "benchmark": "generic_engines",
        "threads": threads,
        "clock": "processor" if options.cpu_time else "wall",
        "texts": count,
        "rounds": rounds,
        "texts_s": {
            name: {kind: round(statistics.median(found), 1) for kind, found in kinds.items()}
            for name, kinds in speeds.items()
        },
        "errors": errors,
        "not_started": refused,
    }


def snapshot() -> Path:
    from benchmarks.models import build

    return build(ROOT / "var" / "bench", "distil")


_tokenisers: list[Any] = []


def encode(some: Sequence[str]) -> list[Any]:
    """Encodings, cut; the one tokenizer of all engines."""
    from inference.engine.preprocessing import read_step
    from inference.engine.tokenise import Tokeniser

    if not _tokenisers:
        source = (snapshot() / "tokenizer.json").read_text(encoding="utf-8")
        _tokenisers.append(Tokeniser(source, MAX_LENGTH, read_step(snapshot()), types=False))
    encodings: list[Any] = _tokenisers[0].encode(some)
    return encodings


def answers(forward: Forward, some: Sequence[str], pads: bool) -> Any:
    """Logits in the order of the texts, in the batches that suit the engine."""
    import numpy as np

    from inference.engine.plan import plan_batches

    encodings = encode(some)
    if not pads:
        return np.stack([np.asarray(row) for row in forward(encodings)])
    out: list[Any] = [None] * len(encodings)
    for batch in plan_batches([len(e) for e in encodings], max_rows=64, token_budget=BUDGET):
        for i, row in zip(batch, forward([encodings[i] for i in batch]), strict=True):
            out[i] = row
    return np.stack(out)


def padded(encodings: Sequence[Any]) -> dict[str, Any]:
    """int64 (rows, longest), and its mask."""
    import numpy as np

    width = max(len(e) for e in encodings)
    ids, mask = np.zeros((len(encodings), width), np.int64), np.zeros((len(encodings), width), np.int64)
    for i, encoding in enumerate(encodings):
        ids[i, : len(encoding)] = encoding.input_ids
        mask[i, : len(encoding)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def probabilities(logits: Any) -> Any:
    import numpy as np

    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def reference() -> Forward:
    """transformers in fp32, one text at a time."""
    import numpy as np
    import torch

    model = torch_model()

    def run(encodings: Sequence[Any]) -> Any:
        with torch.inference_mode():
            rows = [model(torch.tensor([e.input_ids])).logits[0].numpy() for e in encodings]
        return np.stack(rows)

    return run


def torch_model() -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification.from_pretrained(str(snapshot())).eval()


def packed(precision: Any) -> Callable[[int], Forward]:
    """Our encoder, cut by its own token budget as the queue does."""

    def make(threads: int) -> Forward:
        from inference.engine import ClassifierConfig, load_backend
        from inference.engine.plan import plan_batches

        backend = load_backend(
            ClassifierConfig(
                snapshot(),
                "bench/model",
                "a" * 40,
                max_length=MAX_LENGTH,
                backend="packed",
                precision=precision,
                digest="generic",
                canaries=FOLDER / "canaries",
            )
        )

        def run(encodings: Sequence[Any]) -> Any:
            batches = plan_batches(
                [len(e) for e in encodings], max_rows=8192, token_budget=backend.token_budget, pads=False
            )
            return [row for batch in batches for row in backend.forward([encodings[i] for i in batch])]

        return run

    return make


def packed_lanes(precision: Any) -> Callable[[int], Forward]:
    """Our engine as the server runs it: processes of one thread on one queue (without its tokenising)."""

    def make(threads: int) -> Forward:
        import numpy as np

        from inference.engine import ClassifierConfig
        from inference.engine.plan import plan_batches
        from inference.engine.process import load_in_processes

        backends = load_in_processes(
            ClassifierConfig(
                snapshot(), "bench/model", "a" * 40, max_length=MAX_LENGTH, precision=precision, digest="generic",
                canaries=FOLDER / "canaries",
            ),
            threads=threads,
        )  # fmt: skip
        from concurrent.futures import ThreadPoolExecutor
        from queue import SimpleQueue

        free: SimpleQueue[Any] = SimpleQueue()
        for backend in backends:
            free.put(backend)
        pool = ThreadPoolExecutor(len(backends))

        def one(batch: Sequence[Any]) -> Any:
            backend = free.get()
            try:
                return backend.forward(batch)
            finally:
                free.put(backend)

        def run(encodings: Sequence[Any]) -> Any:
            batches = plan_batches(
                [len(e) for e in encodings], max_rows=8192, token_budget=backends[0].token_budget, pads=False
            )
            parts = pool.map(one, [[encodings[i] for i in batch] for batch in batches])
            return np.concatenate([np.asarray(part) for part in parts])

        return run

    return make


def onnx_file() -> Path:
    """The model as ONNX with free batch and length; made once."""
    import torch

    path = FOLDER / "distil.onnx"
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    example = {
        "input_ids": torch.ones(2, 16, dtype=torch.long),
        "attention_mask": torch.ones(2, 16, dtype=torch.long),
    }
    free = {0: torch.export.Dim("rows"), 1: torch.export.Dim("tokens", max=512)}
    building = path.with_suffix(".building")
    torch.onnx.export(
        torch_model(), (), str(building), kwargs=example, dynamo=True, external_data=False,
        dynamic_shapes={"input_ids": free, "attention_mask": free},
    )  # fmt: skip
    building.replace(path)
    return path


def openvino(precision: str, *, streams: int = 1) -> Callable[[int], Forward]:
    """fp32, bf16 or int8 (calibrated, and bf16 for the rest)."""

    def make(threads: int) -> Forward:
        import openvino as ov  # type: ignore[import-not-found, unused-ignore]

        core = ov.Core()
        model = core.read_model(onnx_file())
        if precision == "int8":
            model = calibrated(model)
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "INFERENCE_PRECISION_HINT": {"fp32": "f32"}.get(precision, "bf16"),
            },
        )
        request = compiled.create_infer_request()

        def run(encodings: Sequence[Any]) -> Any:
            request.infer(padded(encodings))
            return request.get_output_tensor(0).data.copy()

        return run

    return make


def calibrated(model: Any) -> Any:
    import nncf  # type: ignore[import-not-found, unused-ignore]

    from benchmarks.models import texts

    sample = nncf.Dataset([padded([e]) for e in encode(texts()[-CALIBRATION_TEXTS:])])
    return nncf.quantize(model, sample, model_type=nncf.ModelType.TRANSFORMER, subset_size=CALIBRATION_TEXTS)


def onnxruntime(precision: str) -> Callable[[int], Forward]:
    def make(threads: int) -> Forward:
        import onnxruntime as ort  # type: ignore[import-not-found, unused-ignore]

        path = onnx_file()
        if precision == "int8":
            from onnxruntime.quantization import quantize_dynamic  # type: ignore[import-not-found, unused-ignore]

            path = FOLDER / "distil-int8.onnx"
            if not path.is_file():
                quantize_dynamic(onnx_file(), path, per_channel=True)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return lambda encodings: session.run(None, padded(encodings))[0]

    return make


ENGINES: dict[str, tuple[Callable[[int], Forward], bool]] = {
    "packed-fp32": (packed("fp32"), False),
    "packed-bf16": (packed("bf16"), False),
    "packed-bf16-lanes": (packed_lanes("bf16"), False),
    "openvino-fp32": (openvino("fp32"), True),
    "openvino-bf16": (openvino("bf16"), True),
    "openvino-int8": (openvino("int8"), True),
    "onnxruntime-fp32": (onnxruntime("fp32"), True),
    "onnxruntime-int8": (onnxruntime("int8"), True),
}


if __name__ == "__main__":
    sys.exit(main())
