"""The reference backend: transformers' own forward pass on a padded batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from inference.engine.backend import Encoding
from inference.engine.device import token_budget_for
from inference.engine.tokenise import Tokeniser


class TorchBackend:
    """Implements `Backend`. A later, faster forward pass replaces `forward` and nothing else."""

    def __init__(
        self, *, model: Any, tokenizer: Any, device: torch.device, labels: tuple[str, ...], max_length: int
    ) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._device = device
        self._tokeniser = Tokeniser(tokenizer, max_length)
        self._wants_types = "token_type_ids" in tokenizer.model_input_names
        self.labels = labels
        self.max_length = max_length
        self.device = device.type
        self.token_budget = token_budget_for(device)

    def with_max_length(self, max_length: int) -> TorchBackend:
        """The same model behind a tokeniser that cuts at `max_length` (never above this backend's own)."""
        return TorchBackend(
            model=self._model,
            tokenizer=self._tokenizer,
            device=self._device,
            labels=self.labels,
            max_length=min(max_length, self.max_length),
        )

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        return self._tokeniser.encode(texts)

    def forward(self, batch: Sequence[Encoding]) -> NDArray[np.float32]:
        width = max(len(encoding) for encoding in batch)
        inputs = {
            "input_ids": self._pad([e.input_ids for e in batch], width, self._tokenizer.pad_token_id),
            "attention_mask": self._pad([[1] * len(e) for e in batch], width, 0),
        }
        if self._wants_types:
            type_pad = getattr(self._tokenizer, "pad_token_type_id", 0)
            inputs["token_type_ids"] = self._pad([e.type_ids for e in batch], width, type_pad)
        with torch.inference_mode():
            logits = self._model(**inputs).logits
        array: NDArray[np.float32] = logits.float().cpu().numpy()
        return array

    def close(self) -> None:
        self._model = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def _pad(self, rows: list[list[int]], width: int, filler: int) -> torch.Tensor:
        """Shape (rows, width), int64, on the device; padding on the side the tokenizer was trained with."""
        if self._tokenizer.padding_side == "left":
            padded = [[filler] * (width - len(row)) + row for row in rows]
        else:
            padded = [row + [filler] * (width - len(row)) for row in rows]
        return torch.tensor(padded, dtype=torch.long).to(self._device)
