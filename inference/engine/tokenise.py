"""Texts to token ids. The tokenizer is part of the model's contract: same files, same cut, in tests and in
service."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from inference.engine.backend import Encoding, Piece
from inference.engine.errors import ModelLoadError
from inference.engine.preprocessing import TRAVELLING, Step
from inference.engine.tasks import Input

# transformers writes 1e30 for "no limit".
NO_LIMIT = 1_000_000_000


@dataclass(frozen=True)
class TokeniserState:
    """A tokenizer as bytes between processes. Steps are read from the snapshot, so none that holds a table."""

    source: str
    max_length: int
    side: str
    step: str


class Tokeniser:
    """Encodes inputs, cut at `max_length` tokens, without padding. Safe from several threads.

    A fast tokenizer is used below transformers: its `__call__` sets truncation on the shared Rust object,
    and two threads doing that at once end in "Already borrowed". Ours is a copy, set once. `pieces` asks for
    the characters of each token, `types` for segment ids.
    """

    def __init__(
        self,
        source: Any,
        max_length: int,
        step: Step,
        *,
        pieces: bool = False,
        types: bool = True,
        side: str = "right",
    ) -> None:
        self.max_length = max_length
        self._source, self._step, self._pieces, self._types, self._side = source, step, pieces, types, side
        self._lock = threading.Lock()
        self._slow: Any = None
        self._fast: Any = None
        if isinstance(source, str):
            self._fast = Tokenizer.from_str(source)
            self._fast.no_padding()
            self._fast.enable_truncation(max_length, direction=side)
            settings = json.loads(source).get("model", {})
            self._prefix = settings.get("continuing_subword_prefix")
            unknown = settings.get("unk_token")
            if unknown is None and settings.get("unk_id") is not None:
                unknown = self._fast.id_to_token(settings["unk_id"])
            self._unknown = None if unknown is None else self._fast.token_to_id(unknown)
        else:
            self._slow = source

    def state(self) -> TokeniserState:
        """For another process. Raises ValueError for a tokenizer or a step that cannot travel."""
        if self._slow is not None or str(self._step) not in TRAVELLING:
            raise ValueError("This tokenizer or its preprocessing step cannot go to another process.")
        return TokeniserState(self._source, self.max_length, self._side, str(self._step))

    def facts(self) -> dict[str, Any]:
        """What `process` needs to encode as this does, as JSON. Raises ModelLoadError for a tokenizer that
        only transformers can run."""
        if self._slow is not None:
            raise ModelLoadError("This tokenizer cannot leave its process.", code="slow_tokenizer")
        return {"tokenizer": self._source, "types": self._types, "side": self._side}

    def with_max_length(self, max_length: int) -> Tokeniser:
        """The same tokenizer that cuts earlier."""
        return Tokeniser(
            self._source,
            min(max_length, self.max_length),
            self._step,
            pieces=self._pieces,
            types=self._types,
            side=self._side,
        )

    def encode(self, inputs: Sequence[Input]) -> list[Encoding]:
        """One encoding for each input, in order."""
        texts = [self._prepare(one) for one in inputs] if self._step.name != "none" else list(inputs)
        if self._fast is None:
            with self._lock:
                return [self._encode_slow(text) for text in texts]
        if self._pieces:
            rows = self._fast.encode_batch(texts)
            return [
                Encoding(row.ids, row.type_ids, bool(row.overflowing), self._find(text, row))
                for text, row in zip(texts, rows, strict=True)
            ]
        rows = self._fast.encode_batch_fast(texts)
        if self._types:
            return [Encoding(row.ids, row.type_ids, bool(row.overflowing)) for row in rows]
        return [Encoding(row.ids, [], bool(row.overflowing)) for row in rows]

    def join(self, words: Sequence[str]) -> str:
        """Tokens as text again."""
        if self._slow is not None:
            with self._lock:
                return str(self._slow.convert_tokens_to_string(list(words)))
        decoder = self._fast.decoder
        return " ".join(words) if decoder is None else str(decoder.decode(list(words)))

    def _prepare(self, one: Input) -> Input:
        apply = self._step.apply
        return apply(one) if isinstance(one, str) else (apply(one[0]), apply(one[1]))

    def _find(self, text: Input, row: Any) -> tuple[Piece, ...]:
        """The tokens that carry text. What is a later part of a word is decided as transformers does."""
        if not isinstance(text, str):
            return ()
        found = []
        marks = zip(row.ids, row.tokens, row.offsets, row.special_tokens_mask, strict=True)
        for index, (number, word, (start, end), special) in enumerate(marks):
            if special:
                continue
            apart = " " in text[max(0, start - 1) : start + 1] or start == 0
            subword = len(word) != end - start if self._prefix else not apart
            if number == self._unknown:
                word, subword = text[start:end], False
            found.append(Piece(index, word, start, end, subword))
        return tuple(found)

    def _encode_slow(self, one: Input) -> Encoding:
        texts = (one,) if isinstance(one, str) else one
        cut = self._slow(
            *texts, truncation=True, max_length=self.max_length, return_token_type_ids=True, verbose=False
        )
        ids: list[int] = cut["input_ids"]
        # Only a text that fills the limit can have been cut; only then is it worth encoding it a second time.
        full = len(ids) >= self.max_length and len(self._slow(*texts, verbose=False)["input_ids"]) > len(ids)
        return Encoding(ids, cut["token_type_ids"] if self._types else [], full)


def read_settings(snapshot: Path) -> dict[str, Any]:
    """tokenizer_config.json, or {}. Raises ModelLoadError (load_failed)."""
    path = snapshot / "tokenizer_config.json"
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise ModelLoadError("tokenizer_config.json of the snapshot is not readable JSON.") from exc
    return value if isinstance(value, dict) else {}
