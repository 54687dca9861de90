"""Correct before fast: what a backend answers to the canary set, beside what transformers answers.

The reference's answers are computed once for a revision and kept by its digest, so that a start does not pay
for importing transformers; a revision that was never loaded here pays once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inference.engine.backend import Backend
from inference.engine.contract import Contract
from inference.engine.errors import ModelLoadError
from inference.engine.forward import run_batch
from inference.engine.tasks import Head, Input
from inference.engine.types import ClassifierConfig
from inference.engine.warm_up import CANARY_TEXT, signature

logger = logging.getLogger(__name__)

# The largest difference of a probability (or of a place in a vector of length 1) that is the same answer.
TOLERANCES = {"fp32": 1e-5, "fp16": 1e-2, "bf16": 5e-2}
# fp32 on a GPU adds in another order than the CPU that gave the reference.
_GPU_TOLERANCE = 1e-4
_TIMEOUT_S = 300
_SCHEMA = 1

TEXTS: tuple[str, ...] = (
    CANARY_TEXT,
    "a",
    "Giao hàng nhanh, đóng gói cẩn thận, sẽ ủng hộ shop tiếp.",
    "👍🏽 great — “really” 100%!?",
    "The handle came loose after two weeks and nobody answers my messages. " * 3,
    "warm " * 600,
)
PAIR = ("Is the battery good?", "Pin yếu hơn quảng cáo.")


@dataclass(frozen=True)
class Answered:
    """The token ids and the numbers (see `signature`) for one canary input."""

    ids: list[int]
    numbers: list[float]


def canary_inputs(head: Head) -> list[Input]:
    return [*TEXTS, PAIR] if head.kind == "classify" else [*TEXTS]


def answer_canary(backend: Backend, *, together: bool) -> list[Answered]:
    """The backend's answers: all in one batch, or one input at a time."""
    encodings = backend.encode(canary_inputs(backend.head))
    batches = [encodings] if together else [[encoding] for encoding in encodings]
    rows = [row for batch in batches for row in run_batch(backend, batch)]
    return [
        Answered(list(encoding.input_ids), [round(number, 8) for number in signature(row, backend.head)])
        for encoding, row in zip(encodings, rows, strict=True)
    ]


def check_against(backend: Backend, expected: Sequence[Answered], precision: str) -> float:
    """The largest difference from the reference. Raises ModelLoadError (canary_failed) when it is too large,
    when other tokens come out, or another label wins."""
    tolerance = max(TOLERANCES[precision], _GPU_TOLERANCE if backend.device != "cpu" else 0)
    worst = 0.0
    for number, (got, wanted) in enumerate(zip(answer_canary(backend, together=True), expected, strict=True)):
        if got.ids != wanted.ids:
            raise _mismatch(backend, number, "its tokenizer gives other tokens")
        a, b = np.array(got.numbers), np.array(wanted.numbers)
        difference = float(np.abs(a - b).max()) if a.shape == b.shape else float("inf")
        worst = max(worst, difference)
        if not difference <= tolerance:
            raise _mismatch(
                backend, number, f"its answer differs by {difference:.2g}, more than {tolerance:g}"
            )
        if backend.head.kind == "classify" and len(b) > 1:
            first, second = np.sort(b)[::-1][:2]
            if first - second > 2 * tolerance and a.argmax() != b.argmax():
                raise _mismatch(backend, number, "another label wins")
    return worst


def reference_answers(config: ClassifierConfig, contract: Contract) -> list[Answered]:
    """The reference's answers: from `config.canaries` by digest, else computed: in a process of its own when
    they are to be kept (a server), else here. Raises ModelLoadError."""
    path = _path(config, contract)
    if path is None:
        return compute_reference(config, contract)
    if (kept := _read(path)) is not None:
        return kept
    _compute_in_child(config)
    kept = _read(path)
    if kept is None:
        raise ModelLoadError("The reference's answers could not be computed.", code="canary_failed")
    return kept


def compute_reference(config: ClassifierConfig, contract: Contract) -> list[Answered]:
    """Load transformers' model in fp32 on the CPU and ask it, one input at a time."""
    from dataclasses import replace

    import torch

    from inference.engine.load_reference import load_reference

    plain = replace(config, precision="fp32")
    backend = load_reference(plain, contract, torch.device("cpu"), alone=True)
    try:
        return answer_canary(backend, together=False)
    finally:
        backend.close()


def keep_reference(config: ClassifierConfig, contract: Contract) -> None:
    """Compute the reference's answers and write them where `reference_answers` looks."""
    path = _path(config, contract)
    if path is None:
        raise ValueError("Without a digest and a folder there is nowhere to keep the answers.")
    answers = [asdict(answer) for answer in compute_reference(config, contract)]
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps({"schema": _SCHEMA, "answers": answers}), encoding="utf-8")
    temporary.replace(path)


def _path(config: ClassifierConfig, contract: Contract) -> Path | None:
    if config.canaries is None or not config.digest:
        return None
    parts = [config.digest, config.max_length, contract.head.kind, contract.head.pooling, str(contract.step)]
    name = hashlib.sha256(json.dumps([*parts, canary_inputs(contract.head)]).encode()).hexdigest()
    return config.canaries / f"reference-{name}.json"


def _read(path: Path) -> list[Answered] | None:
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
        if value["schema"] != _SCHEMA:
            return None
        return [Answered(list(one["ids"]), list(one["numbers"])) for one in value["answers"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _compute_in_child(config: ClassifierConfig) -> None:
    """transformers costs seconds and hundreds of megabytes; the process that serves never imports it."""
    fields = {
        name: str(value) if isinstance(value, Path) else value for name, value in asdict(config).items()
    }
    environment = {
        "HF_HUB_OFFLINE": "1",
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "inference.engine.canary_child"],
            input=json.dumps(fields),
            env=environment,
            cwd=Path(__file__).parents[2],
            text=True,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelLoadError("The reference did not answer in time.", code="canary_failed") from None
    if done.returncode == 3:
        told = json.loads(done.stdout)
        raise ModelLoadError(told["message"], code=told["code"])
    if done.returncode:
        raise ModelLoadError("The process that computes the reference failed.", code="canary_failed")


def _mismatch(backend: Backend, number: int, reason: str) -> ModelLoadError:
    return ModelLoadError(
        f"The backend {backend.variant} disagrees with the reference on canary {number}: {reason}.",
        code="canary_failed",
    )
