"""An engine that computes in another process: texts become tokens here, and numbers become answers here."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from inference.engine.admission import is_full
from inference.engine.backend import Encoding
from inference.engine.dummy import DummyBackend
from inference.engine.errors import EngineBusy, InferenceOutputError, ModelLoadError
from inference.engine.inbox import Pending
from inference.engine.prepared import Encoder, Prepared, prepare
from inference.engine.preprocessing import read_step
from inference.engine.tasks import Head, Input, Options
from inference.engine.tokenise import Tokeniser
from inference.engine.types import Answer, Variant
from inference.engine.validate import check_inputs
from inference.engine.wire import pack_job, unpack_answer

# How long a thread waits for its host to tokenise with a tokenizer that only transformers can run.
_ENCODE_S = 30.0


class Host(Protocol):
    """The connection to the process that computes."""

    @property
    def open(self) -> bool: ...

    def compute(self, body: bytes, read: Callable[[memoryview], Answer]) -> Pending:
        """Sends a packed job; its future gives what `read` makes of the answer. On the event loop only."""

    def encode(self, body: bytes, timeout_s: float) -> bytes:
        """Has the host tokenise. From a thread beside the event loop only."""


def tokeniser_from(told: dict[str, Any], max_length: int, head: Head, snapshot: Path) -> Tokeniser:
    """The tokenizer that another process described (`Tokeniser.facts`), with the revision's preprocessing."""
    return Tokeniser(
        told["tokenizer"],
        max_length,
        read_step(snapshot),
        pieces=head.kind == "tag",
        types=told["types"],
        side=told["side"],
    )


def describe_tokeniser(backend: Any) -> dict[str, Any] | None:
    """What `load_encoder` needs to encode as this backend does; None when it can only be done here."""
    try:
        facts: dict[str, Any] = backend.tokeniser_facts()
    except (AttributeError, ModelLoadError):
        return None
    return facts


def load_encoder(facts: dict[str, Any], snapshot: Path) -> Encoder | None:
    """The encoder of an engine's `describe`; takes up to seconds. None when the host has to encode."""
    told, head = facts["tokeniser"], Head(**facts["head"])
    if told is None:
        return None
    if "dummy" in told:
        return DummyBackend(tuple(facts["labels"]), facts["max_length"], head=head)
    return tokeniser_from(told, facts["max_length"], head, snapshot)  # type: ignore[return-value]


class _Seat:
    """A permit here is a look at the queue; the one that counts is taken where the queue is."""

    __slots__ = ()

    def release(self, inputs: int | None = None) -> None:
        pass


_SEAT = _Seat()


class RemoteEngine:
    """As `Engine`, for the asyncio process that serves callers: what differs is where the queue and the model are.

    `number` names the engine to its host, `facts` are its `describe`; `queue` reads the host's count of inputs
    that wait, and how many may, without asking it.
    """

    def __init__(
        self,
        host: Host,
        number: int,
        facts: dict[str, Any],
        encoder: Encoder | None,
        queue: Callable[[], tuple[int, int]],
    ) -> None:
        self.number = number
        self.labels: tuple[str, ...] = tuple(facts["labels"])
        self.head = Head(**facts["head"])
        self.variant = Variant(**facts["variant"])
        self.device: str = self.variant.device
        self.max_length: int = facts["max_length"]
        self.token_budget: int = facts["token_budget"]
        self._limit: int = facts["max_queued_inputs"]
        self._host, self._encoder, self._queue = host, encoder, queue

    @property
    def alive(self) -> bool:
        return self._host.open

    @property
    def waiting_inputs(self) -> int:
        return self._queue()[0]

    @property
    def has_room(self) -> bool:
        """As the engine's; without asking it."""
        return not is_full(*self._queue(), self._limit, 1)

    def admit(self, inputs: int) -> _Seat:
        """Raises EngineBusy when the queue is full now: before any work for the request, and without asking."""
        if is_full(*self._queue(), self._limit, inputs):
            raise EngineBusy("The engine's queue is full.")
        return _SEAT

    def prepare(self, inputs: Sequence[Input], options: Options, *, truncate: bool = True) -> Prepared:
        return prepare(self, inputs, options, truncate=truncate)

    def enqueue_here(self, permit: object, prepared: Prepared, *, deadline: float | None = None) -> Pending:
        body = pack_job(self.number, prepared.encodings, deadline)
        return self._host.compute(body, partial(self._read, prepared))

    def count_tokens(self, inputs: Sequence[Input]) -> list[Encoding]:
        return self.encode(check_inputs(inputs))

    def encode(self, inputs: Sequence[Input]) -> list[Encoding]:
        if self._encoder is not None:
            return self._encoder.encode(inputs)
        asked = json.dumps({"engine": self.number, "inputs": inputs}).encode()
        return [Encoding(*row) for row in json.loads(self._host.encode(asked, _ENCODE_S))]

    @property
    def encodes_here(self) -> bool:
        """Whether `encode` may run on the event loop."""
        return self._encoder is not None

    def join(self, words: Sequence[str]) -> str:
        return " ".join(words) if self._encoder is None else self._encoder.join(words)

    def _read(self, prepared: Prepared, body: memoryview) -> Answer:
        """Numbers to answers. Raises InferenceOutputError."""
        inputs, queue_ms, inference_ms, numbers = unpack_answer(body)
        encodings = prepared.encodings
        widths = [len(e) for e in encodings] if self.head.kind == "tag" else [1] * len(encodings)
        if inputs != len(encodings) or len(numbers) != sum(widths) * self.head.size:
            raise InferenceOutputError("The host answered with another number of rows.")
        table = numbers.reshape(-1, self.head.size)
        rows = np.split(table, np.cumsum(widths)[:-1]) if self.head.kind == "tag" else table
        return prepared.answer(rows, self.variant, queue_ms, inference_ms)
