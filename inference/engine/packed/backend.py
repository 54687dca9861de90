"""The packed encoder behind the `Backend` protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference.engine.backend import Encoding, Numbers
from inference.engine.device import packed_budget_for
from inference.engine.packed.encoder import Encoder
from inference.engine.packed.rows import pack, pack_flat, round_firsts, shapes
from inference.engine.tasks import Head, Input
from inference.engine.tokenise import Tokeniser, TokeniserState
from inference.engine.types import Variant


class PackedBackend:
    """Implements `Backend`. A batch costs its tokens, whatever their texts' lengths."""

    pads = False

    def __init__(
        self,
        *,
        encoder: Encoder,
        tokeniser: Tokeniser,
        head: Head,
        labels: tuple[str, ...],
        device: torch.device,
        dtype: torch.dtype,
        padding: int | None,
    ) -> None:
        self._encoder: Encoder | None = encoder
        self._tokeniser = tokeniser
        self._device, self._dtype, self._padding = device, dtype, padding
        self.labels, self.head = labels, head
        self.max_length = tokeniser.max_length
        self.device = device.type
        self.variant = Variant("packed", _NAMES[dtype], device.type)
        self.token_budget = packed_budget_for(device)
        half = device.type == "cpu" and dtype != torch.float32
        self._unmet = shapes(max(self.token_budget, self.max_length)) if half else []

    def with_max_length(self, max_length: int) -> PackedBackend:
        """The same model behind a tokeniser that cuts at `max_length` (never above this backend's own)."""
        assert self._encoder is not None
        return PackedBackend(
            encoder=self._encoder,
            tokeniser=self._tokeniser.with_max_length(max_length),
            head=self.head,
            labels=self.labels,
            device=self._device,
            dtype=self._dtype,
            padding=self._padding,
        )

    def encode(self, inputs: Sequence[Input]) -> list[Encoding]:
        return self._tokeniser.encode(inputs)

    def tokeniser_facts(self) -> dict[str, Any]:
        """What another process needs to encode as this backend does."""
        return self._tokeniser.facts()

    def join(self, words: Sequence[str]) -> str:
        return self._tokeniser.join(words)

    def forward(self, batch: Sequence[Encoding]) -> Numbers:
        encoder = self._encoder
        if encoder is None:
            raise RuntimeError("The model was closed.")
        order = sorted(range(len(batch)), key=lambda i: len(batch[i]))
        with torch.inference_mode():
            rows = pack(
                [batch[i] for i in order],
                heads=encoder.heads,
                padding=self._padding,
                types=encoder.uses_types,
                device=self._device,
            )
            answers: NDArray[np.float32] = encoder.forward(rows).float().cpu().numpy()
        bounds = rows.layout.bounds
        out: list[NDArray[np.float32]] = [answers[0]] * len(batch)
        for place, i in enumerate(order):
            tag = self.head.kind == "tag"
            out[i] = answers[bounds[place] : bounds[place + 1]] if tag else answers[place]
        return out

    def tokeniser_state(self) -> TokeniserState:
        """What another process needs to encode as this backend does."""
        return self._tokeniser.state()

    def forward_flat(self, ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> torch.Tensor:
        """Logits or vectors, (sequences, size), still on the device: for bulk work that keeps it busy. Token
        ids one sequence after the other; no segment ids."""
        encoder = self._encoder
        if encoder is None or self.head.kind == "tag":
            raise RuntimeError("Bulk work needs an open model that answers once a text.")
        with torch.inference_mode():
            rows = pack_flat(
                ids, lengths, None, heads=encoder.heads, padding=self._padding, device=self._device
            )
            return encoder.forward(rows)[: len(lengths)]

    def meet_next_shape(self) -> bool:
        """Make the library's plans for one more number of rows that a full queue can make; False when all are met.

        In half precision on a CPU a new number costs a plan for each dense layer; in fp32 nothing that can be seen.
        For a process that has nothing else to do: at a start it would hold up the first answer.
        """
        if self._encoder is None or not self._unmet:
            return False
        rows = self._unmet.pop(0)
        with torch.inference_mode():
            self._encoder.warm(rows, min(round_firsts(max(1, rows // 16)), rows))
        return True

    def close(self) -> None:
        self._encoder = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
