"""Very many texts through one model: processes that tokenise, a device that never waits for them.

For evaluations and batch jobs on a GPU, where one thread of Python that tokenises is the wall.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context

import numpy as np
import torch
from numpy.typing import NDArray

from inference.engine.bulk_tokens import Tokens, begin, encode
from inference.engine.errors import InferenceOutputError
from inference.engine.packed.backend import PackedBackend

CHUNK = 512
_IN_FLIGHT = 2


@dataclass(frozen=True)
class BulkAnswers:
    """Labels and confidences of consecutive texts, with their token counts and whether each was cut."""

    labels: list[str]
    confidences: NDArray[np.float32]
    token_counts: NDArray[np.int64]
    truncated: NDArray[np.bool_]


class Bulk:
    """A packed classifier and its tokenising processes. Texts go in as they come and answers come out in
    their order. Close it."""

    def __init__(self, backend: PackedBackend, *, processes: int, tokens: int = 131_072) -> None:
        if backend.head.kind != "classify":
            raise ValueError("Bulk work is for classifiers.")
        self._backend = backend
        self._tokens = tokens
        self._processes = processes
        self._pool = ProcessPoolExecutor(
            processes,
            mp_context=get_context("spawn"),
            initializer=begin,
            initargs=(backend.tokeniser_state(),),
        )

    def classify(self, texts: Iterable[str]) -> Iterator[BulkAnswers]:
        """Answers in the order of the texts, some thousand at a time. Raises InferenceOutputError for NaN."""
        flying: deque[tuple[torch.Tensor, torch.Event | None, list[Tokens]]] = deque()
        for group in self._groups(self._encoded(texts)):
            flying.append(self._launch(group))
            if len(flying) > _IN_FLIGHT:
                yield self._land(*flying.popleft())
        while flying:
            yield self._land(*flying.popleft())

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _encoded(self, texts: Iterable[str]) -> Iterator[Tokens]:
        """Token ids by chunks, in order, with a bounded number of chunks under way."""
        source = iter(texts)
        waiting: deque[Future[Tokens]] = deque()
        while True:
            while len(waiting) < 4 * self._processes and (chunk := list(islice(source, CHUNK))):
                waiting.append(self._pool.submit(encode, chunk))
            if not waiting:
                return
            yield waiting.popleft().result()

    def _groups(self, chunks: Iterator[Tokens]) -> Iterator[list[Tokens]]:
        group: list[Tokens] = []
        held = 0
        for chunk in chunks:
            group.append(chunk)
            held += len(chunk.ids)
            if held >= self._tokens:
                yield group
                group, held = [], 0
        if group:
            yield group

    def _launch(self, group: list[Tokens]) -> tuple[torch.Tensor, torch.Event | None, list[Tokens]]:
        """Start the forward pass and the copy of its answers; neither is waited for."""
        ids = np.concatenate([chunk.ids for chunk in group]).astype(np.int64)
        lengths = np.concatenate([chunk.lengths for chunk in group]).astype(np.int64)
        with torch.inference_mode():
            logits = self._backend.forward_flat(ids, lengths).float()
            chances = logits.sigmoid() if self._backend.head.activation == "sigmoid" else logits.softmax(-1)
            best = _best(chances)
            if best.device.type != "cuda":
                return best, None, group
            there = torch.empty(best.shape, dtype=best.dtype, pin_memory=True)
            there.copy_(best, non_blocking=True)
            done = torch.cuda.Event()
            done.record()
            return there, done, group

    def _land(self, best: torch.Tensor, done: torch.Event | None, group: Sequence[Tokens]) -> BulkAnswers:
        if done is not None:
            done.synchronize()
        array = best.numpy()
        if not np.isfinite(array).all():
            raise InferenceOutputError("The model answered with NaN or infinity, which is no label.")
        names = self._backend.labels
        return BulkAnswers(
            [names[i] for i in array[:, 1].astype(np.int64).tolist()],
            array[:, 0],
            np.concatenate([chunk.lengths for chunk in group]).astype(np.int64),
            np.concatenate([chunk.truncated for chunk in group]),
        )


def _best(chances: torch.Tensor) -> torch.Tensor:
    """chances (texts, labels) -> (texts, 2): the highest one and its number."""
    top, number = chances.max(-1)
    return torch.stack((top, number.to(top.dtype)), dim=1)
