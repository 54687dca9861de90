"""The reference backend: transformers' own forward pass on a padded batch, for every architecture it has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference.engine.backend import Encoding, Numbers
from inference.engine.device import token_budget_for
from inference.engine.tasks import Head, Input
from inference.engine.tokenise import Tokeniser
from inference.engine.types import Variant


class ReferenceBackend:
    """Implements `Backend`. What a faster backend answers is compared with this one."""

    pads = True

    def __init__(
        self,
        *,
        model: Any,
        tokenizer: Any,
        tokeniser: Tokeniser,
        device: torch.device,
        labels: tuple[str, ...],
        head: Head,
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._tokeniser = tokeniser
        self._device = device
        self._wants_types = "token_type_ids" in tokenizer.model_input_names
        self.labels = labels
        self.head = head
        self.max_length = tokeniser.max_length
        self.device = device.type
        self.variant = Variant("reference", str(model.dtype).removeprefix("torch."), device.type)
        self.token_budget = token_budget_for(device)

    def with_max_length(self, max_length: int) -> ReferenceBackend:
        """The same model behind a tokeniser that cuts at `max_length` (never above this backend's own)."""
        return ReferenceBackend(
            model=self._model,
            tokenizer=self._tokenizer,
            tokeniser=self._tokeniser.with_max_length(max_length),
            device=self._device,
            labels=self.labels,
            head=self.head,
        )

    def encode(self, inputs: Sequence[Input]) -> list[Encoding]:
        return self._tokeniser.encode(inputs)

    def tokeniser_facts(self) -> dict[str, Any]:
        """What another process needs to encode as this backend does."""
        return self._tokeniser.facts()

    def join(self, words: Sequence[str]) -> str:
        return self._tokeniser.join(words)

    def forward(self, batch: Sequence[Encoding]) -> Numbers:
        width = max(len(encoding) for encoding in batch)
        inputs = {
            "input_ids": self._pad([e.input_ids for e in batch], width, self._tokenizer.pad_token_id or 0),
            "attention_mask": self._pad([[1] * len(e) for e in batch], width, 0),
        }
        if self._wants_types:
            type_pad = getattr(self._tokenizer, "pad_token_type_id", 0)
            inputs["token_type_ids"] = self._pad([e.type_ids for e in batch], width, type_pad)
        with torch.inference_mode():
            output = self._model(**inputs)
            if self.head.kind == "embed":
                return self._pool(output.last_hidden_state.float(), inputs["attention_mask"])
            logits: NDArray[np.float32] = output.logits.float().cpu().numpy()
        if self.head.kind == "classify":
            return logits
        left = self._tokenizer.padding_side == "left"
        return [
            row[width - len(e) :] if left else row[: len(e)] for row, e in zip(logits, batch, strict=True)
        ]

    def close(self) -> None:
        self._model = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _pool(self, hidden: torch.Tensor, mask: torch.Tensor) -> NDArray[np.float32]:
        """hidden (rows, tokens, size), mask (rows, tokens) -> (rows, size)."""
        weights = mask.unsqueeze(-1).to(hidden.dtype)
        if self.head.pooling == "mean":
            vectors = (hidden * weights).sum(1) / weights.sum(1)
        else:
            vectors = hidden[torch.arange(len(hidden)), mask.argmax(1)]
        array: NDArray[np.float32] = vectors.cpu().numpy()
        return array

    def _pad(self, rows: list[list[int]], width: int, filler: int) -> torch.Tensor:
        """Shape (rows, width), int64, on the device; padding on the side the tokenizer was trained with."""
        if self._tokenizer.padding_side == "left":
            padded = [[filler] * (width - len(row)) + row for row in rows]
        else:
            padded = [row + [filler] * (width - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.long).to(self._device)
