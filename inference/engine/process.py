"""A backend whose forward pass runs on the main thread of another process.

There it is alone with its threads (off the main thread OpenMP loses a third, measured), a crash costs a batch and
not the server, and the process that speaks HTTP never imports torch. Numbers cross as bytes and JSON, never as
pickles: what computes is not trusted with more than answers.
"""

from __future__ import annotations

import json
import logging
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.engine.backend import Encoding, Numbers
from inference.engine.errors import BackendLost, InferenceError, InferenceOutOfMemory, ModelLoadError
from inference.engine.remote import tokeniser_from
from inference.engine.spawn import lanes_for, take
from inference.engine.tasks import Head, Input
from inference.engine.tokenise import Tokeniser
from inference.engine.types import ClassifierConfig, Variant

logger = logging.getLogger(__name__)

_LOAD_S = 300.0
_FORWARD_S = 120.0


def load_in_processes(config: ClassifierConfig, *, threads: int | None = None) -> list[ProcessBackend]:
    """The snapshot's backend behind as many processes as suit it: one with all cores (fp32, CUDA), or on a CPU
    in half precision one a core with one thread each, which share the weights' memory; `config.layout` chooses for a CPU.
    Raises ModelLoadError as `load_backend` does."""
    lanes, each = lanes_for(config.precision, threads, config.layout)
    group = _Group(config, lanes=lanes, threads=each)
    facts = group.start()
    tokeniser = tokeniser_from(facts, facts["max_length"], Head(**facts["head"]), config.snapshot)
    return [ProcessBackend(group, lane, tokeniser, facts) for lane in range(group.lanes)]


class _Group:
    """The processes of one model, and a connection to each."""

    def __init__(self, config: ClassifierConfig, *, lanes: int, threads: int) -> None:
        self.config, self.lanes, self._threads = config, lanes, threads
        self.connections: dict[int, Connection[Any, Any]] = {}
        self._children: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def start(self) -> dict[str, Any]:
        """Start all lanes; what the model is."""
        facts = self._launch(range(self.lanes))
        # One process suits a GPU, whatever the precision.
        for lane in range(int(facts["lanes"]), self.lanes):
            self.connections.pop(lane).close()
        self.lanes = int(facts["lanes"])
        return facts

    def restart(self, lane: int) -> None:
        """Another process for a lane whose process is gone. It has its own copy of the weights."""
        logger.error("engine_process_restarts", extra={"model_id": self.config.model_id, "lane": lane})
        self._launch([lane])

    def lose(self, lane: int) -> None:
        """Close the lane's connection; its process ends when it notices."""
        if connection := self.connections.pop(lane, None):
            connection.close()

    def close(self) -> None:
        for lane in list(self.connections):
            self.lose(lane)
        for child in self._children:
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _launch(self, lanes: Sequence[int]) -> dict[str, Any]:
        with self._lock:
            started = take(len(lanes), self._threads)
            self._children.append(started.child)
            fields = {name: str(v) if isinstance(v, Path) else v for name, v in asdict(self.config).items()}
            request = {"config": fields, "threads": self._threads}
            facts = _first_answer(started.ends[0], request, started.child)
            self.connections.update(zip(lanes, started.ends, strict=True))
            return facts


def _first_answer(
    connection: Connection[Any, Any], request: dict[str, Any], child: subprocess.Popen[bytes]
) -> dict[str, Any]:
    """What the model is. Raises ModelLoadError; the process has then ended."""
    try:
        connection.send_bytes(json.dumps(request).encode())
        if not connection.poll(_LOAD_S):
            raise ModelLoadError("The model's process did not load it in time.", code="load_timeout")
        facts: dict[str, Any] = json.loads(connection.recv_bytes())
    except (EOFError, OSError):
        child.wait()
        raise ModelLoadError(
            "The model's process ended while it loaded the model.", code="load_failed"
        ) from None
    except ModelLoadError:
        child.kill()
        child.wait()
        raise
    if "error" in facts:
        child.wait()
        raise ModelLoadError(facts["message"], code=facts["error"])
    return facts


class ProcessBackend:
    """Implements `Backend`: encodes here, computes there. Encodings may hold arrays in the place of lists, and
    no segment ids where all are 0."""

    takes_arrays = True

    def __init__(self, group: _Group, lane: int, tokeniser: Tokeniser, facts: dict[str, Any]) -> None:
        self._group, self._lane, self._tokeniser = group, lane, tokeniser
        self._types: bool = facts["types"]
        self._closed = False
        self.labels: tuple[str, ...] = tuple(facts["labels"])
        self.head = Head(**facts["head"])
        self.variant = Variant(**facts["variant"])
        self.device: str = facts["variant"]["device"]
        self.max_length: int = facts["max_length"]
        self.token_budget: int = facts["token_budget"]
        self.pads: bool = facts["pads"]

    def encode(self, inputs: Sequence[Input]) -> list[Encoding]:
        return self._tokeniser.encode(inputs)

    def tokeniser_facts(self) -> dict[str, Any]:
        """What another process needs to encode as this backend does."""
        return self._tokeniser.facts()

    def join(self, words: Sequence[str]) -> str:
        return self._tokeniser.join(words)

    def forward(self, batch: Sequence[Encoding]) -> Numbers:
        """Raises BackendLost when the process is gone (the next call starts another), and what it reports."""
        if self._closed:
            raise RuntimeError("The model was closed.")
        if self._lane not in self._group.connections:
            self._group.restart(self._lane)
        connection = self._group.connections[self._lane]
        lengths = [len(encoding) for encoding in batch]
        kinds = self._types and any(_marked(encoding.type_ids) for encoding in batch)
        try:
            connection.send_bytes(json.dumps({"lengths": lengths, "types": kinds}).encode())
            connection.send_bytes(_flat([encoding.input_ids for encoding in batch]))
            if kinds:
                connection.send_bytes(_flat([_types(encoding) for encoding in batch]))
            if not connection.poll(_FORWARD_S):
                raise EOFError
            told = json.loads(connection.recv_bytes())
            raw = connection.recv_bytes() if "error" not in told else b""
        except (EOFError, OSError) as exc:
            self._group.lose(self._lane)
            raise BackendLost("The model's process ended or hung.") from exc
        if "error" in told:
            kind = InferenceOutOfMemory if told["error"] == InferenceOutOfMemory.code else InferenceError
            raise kind("The forward pass failed in the model's process.")
        return self._unpack(np.frombuffer(raw, np.float32), lengths)

    def close(self) -> None:
        self._closed = True
        self._group.lose(self._lane)
        if not self._group.connections:
            self._group.close()

    def _unpack(self, numbers: NDArray[np.float32], lengths: list[int]) -> Numbers:
        """What the process sent, by input. A wrong amount is noticed by its shape."""
        if self.head.kind != "tag":
            size = self.head.size if len(numbers) == len(lengths) * self.head.size else 1
            return numbers.reshape(-1, size)
        rows = numbers.reshape(-1, self.head.size)
        return np.split(rows, np.cumsum(lengths)[:-1])


def _flat(rows: Sequence[Any]) -> bytes:
    return np.concatenate([np.asarray(row, dtype=np.int32) for row in rows]).tobytes()


def _marked(kinds: Any) -> bool:
    """Whether a segment id is other than 0."""
    return bool(kinds.any()) if isinstance(kinds, np.ndarray) else any(kinds)


def _types(encoding: Encoding) -> Any:
    return encoding.type_ids if len(encoding.type_ids) else np.zeros(len(encoding), np.int32)
