"""A tokenised request and its numbers as bytes, between the process that speaks to callers and the one that computes.

Numbers are little arrays behind a fixed head, in the machine's own byte order; never pickles. An error crosses as its class,
its code and nothing else: no message, which might quote a text.
"""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.engine.backend import Encoding, Numbers
from inference.engine.errors import (
    BackendLost,
    EngineBusy,
    EngineClosed,
    EngineDeadline,
    InferenceError,
    InferenceOutOfMemory,
    InferenceOutputError,
)

# inputs, whether segment ids follow, with how many threads to compute (0: as ever).
_BATCH = struct.Struct("=IBxH")
# engine; deadline on time.monotonic() (one clock for the machine; 0: none). A batch follows.
_JOB = struct.Struct("=Ixxxxd")
# inputs, then the stages in ms: queue, inference.
_ANSWER = struct.Struct("=Iff")
_SIZE = 4
# The first bytes of a batch's answer: numbers, or a code.
_ROWS, _FAILURE = b"rows", b"none"

_KINDS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        EngineBusy,
        EngineClosed,
        EngineDeadline,
        BackendLost,
        InferenceError,
        InferenceOutOfMemory,
        InferenceOutputError,
    )
}


@dataclass(frozen=True, slots=True)
class Batch:
    """What the computing side reads: `lengths` (inputs,), `ids` and `types` (tokens,) one input after the other."""

    lengths: NDArray[np.int32]
    ids: NDArray[np.int32]
    types: NDArray[np.int32] | None
    threads: int = 0

    def encodings(self, *, arrays: bool = False) -> list[Encoding]:
        """One encoding for each input, over arrays where the backend takes them, else over lists. Whether a
        text was cut and where its words stand is known on the other side, and stays there."""
        ends = np.cumsum(self.lengths).tolist()
        starts = [0, *ends[:-1]]
        if arrays:
            types: Any = self.types
            return [
                Encoding(self.ids[a:b], [] if types is None else types[a:b], False)  # type: ignore[arg-type]
                for a, b in zip(starts, ends, strict=True)
            ]
        ids = self.ids.view(np.uint32).tolist()
        kinds = [0] * len(ids) if self.types is None else self.types.tolist()
        return [Encoding(ids[a:b], kinds[a:b], False) for a, b in zip(starts, ends, strict=True)]


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """A request for engine number `engine`."""

    engine: int
    deadline: float | None
    batch: Batch


def pack_batch(encodings: Sequence[Encoding], *, types: bool = True, threads: int = 0) -> bytes:
    """Token ids, and segment ids where one is other than 0 (never without `types`)."""
    marked = types and any([_marked(encoding.type_ids) for encoding in encodings])
    parts: list[Any] = [
        _BATCH.pack(len(encodings), marked, threads),
        array("I", [len(encoding) for encoding in encodings]),
    ]
    parts += [_numbers(encoding.input_ids) for encoding in encodings]
    if marked:
        parts += [_numbers(e.type_ids if len(e.type_ids) else [0] * len(e)) for e in encodings]
    return b"".join(parts)


def unpack_batch(body: bytes | memoryview, at: int = 0) -> Batch:
    """Raises ValueError for bytes that are no batch."""
    try:
        inputs, marked, threads = _BATCH.unpack_from(body, at)
    except struct.error as exc:
        raise ValueError("Too short for a batch.") from exc
    at += _BATCH.size
    lengths = np.frombuffer(body, np.int32, inputs, at)
    tokens, at = int(lengths.sum()), at + inputs * _SIZE
    ids = np.frombuffer(body, np.int32, tokens, at)
    types = np.frombuffer(body, np.int32, tokens, at + tokens * _SIZE) if marked else None
    return Batch(lengths, ids, types, threads)


def _marked(kinds: Any) -> bool:
    """Whether a segment id is other than 0."""
    return bool(kinds.any()) if isinstance(kinds, np.ndarray) else any(kinds)


def _numbers(row: Any) -> Any:
    """As bytes may be joined: four to a number."""
    return np.ascontiguousarray(row, np.int32).data if isinstance(row, np.ndarray) else array("I", row)


def pack_job(engine: int, encodings: Sequence[Encoding], deadline: float | None) -> bytes:
    """The request for engine number `engine`."""
    return _JOB.pack(engine, deadline or 0.0) + pack_batch(encodings)


def unpack_job(body: memoryview) -> RemoteJob:
    """Raises ValueError for bytes that are no request."""
    try:
        engine, deadline = _JOB.unpack_from(body)
    except struct.error as exc:
        raise ValueError("Too short for a request.") from exc
    return RemoteJob(engine, deadline or None, unpack_batch(body, _JOB.size))


def pack_answer(rows: Sequence[NDArray[np.float32]], queue_ms: float, inference_ms: float) -> bytes:
    """`rows` are the backend's arrays, one an input."""
    head = _ANSWER.pack(len(rows), queue_ms, inference_ms)
    return b"".join((head, *(np.ascontiguousarray(row, np.float32).data for row in rows)))


def unpack_answer(body: memoryview) -> tuple[int, float, float, NDArray[np.float32]]:
    """Inputs, queue_ms, inference_ms, and all numbers one input after the other."""
    inputs, queue_ms, inference_ms = _ANSWER.unpack_from(body)
    return inputs, queue_ms, inference_ms, np.frombuffer(body, np.float32, offset=_ANSWER.size)


def pack_rows(rows: Numbers) -> bytes:
    """What a model's process answers: the numbers, one input after the other."""
    return b"".join((_ROWS, *(np.ascontiguousarray(row, np.float32).data for row in rows)))


def pack_failure(code: str) -> bytes:
    """Or that there are none, and why."""
    return _FAILURE + code.encode()


def unpack_rows(body: bytes) -> NDArray[np.float32]:
    """Raises InferenceOutOfMemory, InferenceError as the other side reports, and for bytes that are no answer."""
    if body[:_SIZE] != _ROWS or len(body) % _SIZE:
        code = body[_SIZE:].decode("ascii", "replace")
        kind = InferenceOutOfMemory if code == InferenceOutOfMemory.code else InferenceError
        raise kind("The forward pass failed in the model's process.")
    return np.frombuffer(body, np.float32, offset=_SIZE)


def pack_error(exc: BaseException) -> bytes:
    name = type(exc).__name__
    told: dict[str, Any] = {"error": name if name in _KINDS else InferenceError.__name__}
    if isinstance(exc, EngineBusy):
        told["retry_after_s"] = exc.retry_after_s
    return json.dumps(told).encode()


def unpack_error(body: memoryview) -> Exception:
    told = json.loads(bytes(body))
    kind = _KINDS.get(told["error"], InferenceError)
    sentence = "The engine refused or failed; its host's log says why."
    if kind is EngineBusy:
        return EngineBusy(sentence, retry_after_s=int(told["retry_after_s"]))
    return kind(sentence)
