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

from inference.engine.backend import Encoding
from inference.engine.errors import (
    BackendLost,
    EngineBusy,
    EngineClosed,
    EngineDeadline,
    InferenceError,
    InferenceOutOfMemory,
    InferenceOutputError,
)

# engine, inputs, whether segment ids follow; deadline on time.monotonic() (one clock for the machine; 0: none).
_JOB = struct.Struct("=IIBxxxd")
# inputs, then the stages in ms: queue, inference.
_ANSWER = struct.Struct("=Iff")
_SIZE = 4

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
class RemoteJob:
    """What the computing side reads: `lengths` (inputs,), `ids` and `types` (tokens,) one input after the other."""

    engine: int
    deadline: float | None
    lengths: NDArray[np.int32]
    ids: NDArray[np.int32]
    types: NDArray[np.int32] | None

    def encodings(self, *, arrays: bool) -> list[Encoding]:
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


def pack_job(engine: int, encodings: Sequence[Encoding], deadline: float | None) -> bytes:
    """The request for engine number `engine`."""
    lengths, ids, types = array("I"), array("I"), array("I")
    marked = any(any(encoding.type_ids) for encoding in encodings)
    for encoding in encodings:
        lengths.append(len(encoding.input_ids))
        ids.fromlist(encoding.input_ids)
        if marked:
            types.fromlist(encoding.type_ids)
    head = _JOB.pack(engine, len(encodings), marked, deadline or 0.0)
    return b"".join((head, lengths, ids, types))


def unpack_job(body: memoryview) -> RemoteJob:
    """Raises ValueError for bytes that are no request."""
    try:
        engine, inputs, marked, deadline = _JOB.unpack_from(body)
        lengths = np.frombuffer(body, np.int32, inputs, _JOB.size)
        tokens, at = int(lengths.sum()), _JOB.size + inputs * _SIZE
        ids = np.frombuffer(body, np.int32, tokens, at)
        types = np.frombuffer(body, np.int32, tokens, at + tokens * _SIZE) if marked else None
    except struct.error as exc:
        raise ValueError("Too short for a request.") from exc
    return RemoteJob(engine, deadline or None, lengths, ids, types)


def pack_answer(rows: Sequence[NDArray[np.float32]], queue_ms: float, inference_ms: float) -> bytes:
    """`rows` are the backend's arrays, one an input."""
    head = _ANSWER.pack(len(rows), queue_ms, inference_ms)
    return b"".join((head, *(np.ascontiguousarray(row, np.float32).data for row in rows)))


def unpack_answer(body: memoryview) -> tuple[int, float, float, NDArray[np.float32]]:
    """Inputs, queue_ms, inference_ms, and all numbers one input after the other."""
    inputs, queue_ms, inference_ms = _ANSWER.unpack_from(body)
    return inputs, queue_ms, inference_ms, np.frombuffer(body, np.float32, offset=_ANSWER.size)


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
