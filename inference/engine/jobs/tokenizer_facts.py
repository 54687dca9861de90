"""What is the revision's tokenizer? Facts to compare between revisions: when they differ, so do the
inputs."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from typing import Any

from inference.engine.jobs.task import JobError, Progress, Task
from inference.engine.load import load_tokenizer
from inference.engine.snapshot import check_snapshot

SCHEMA = 2
# transformers writes 1e30 for "no limit".
_NO_LIMIT = 1_000_000_000
_MAX_IDS = 200_000


def run_tokenizer_facts(task: Task, progress: Progress) -> dict[str, Any]:
    """Class, sizes, special tokens, `probe_digests` (sha256 over the token ids of each probe text, uncut)
    and `probe_digest`, over all of them.

    A probe text may be blank or hold anything but half a character: what a tokenizer makes of it is asked.
    """
    probes = task.texts("probe_texts")
    progress("load", 0, 1)
    check_snapshot(task.snapshot, weights=False)
    tokenizer = load_tokenizer(task.snapshot)
    progress("load", 1, 1)
    ids = [_encode(tokenizer, text) for text in probes]
    limit = int(tokenizer.model_max_length)
    return {
        "schema": SCHEMA,
        "class": type(tokenizer).__name__,
        "is_fast": bool(tokenizer.is_fast),
        "vocab_size": len(tokenizer),
        "model_max_length": limit if limit < _NO_LIMIT else None,
        "padding_side": tokenizer.padding_side,
        "special_tokens": {name: str(token) for name, token in sorted(tokenizer.special_tokens_map.items())},
        "versions": {name: version(name) for name in ("transformers", "tokenizers")},
        "probe_digests": [_digest(row) for row in ids],
        "probe_digest": _digest(ids),
    }


def _encode(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, verbose=False)["input_ids"]
    if len(ids) > _MAX_IDS:
        raise JobError("too_many_tokens", f"The tokenizer makes more than {_MAX_IDS} tokens of a short text.")
    return [int(number) for number in ids]


def _digest(ids: list[Any]) -> str:
    return hashlib.sha256(json.dumps(ids, separators=(",", ":")).encode()).hexdigest()
