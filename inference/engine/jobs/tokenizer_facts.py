"""What is the revision's tokenizer? Facts to compare between revisions: when they differ, so do the
inputs."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from inference.engine.jobs.task import Progress, Task
from inference.engine.load import load_tokenizer
from inference.engine.snapshot import check_snapshot
from inference.engine.validate import check_texts

SCHEMA = 1
# transformers writes 1e30 for "no limit".
_NO_LIMIT = 1_000_000_000


def run_tokenizer_facts(task: Task, progress: Progress) -> dict[str, Any]:
    """Class, sizes, special tokens and `probe_digest`: sha256 over the token ids of every probe text,
    uncut."""
    probes = check_texts(task.texts("probe_texts"))
    progress("load", 0, 1)
    check_snapshot(task.snapshot, weights=False)
    tokenizer = load_tokenizer(task.snapshot)
    progress("load", 1, 1)
    ids = [tokenizer(text, verbose=False)["input_ids"] for text in probes]
    limit = int(tokenizer.model_max_length)
    return {
        "schema": SCHEMA,
        "class": type(tokenizer).__name__,
        "is_fast": bool(tokenizer.is_fast),
        "vocab_size": len(tokenizer),
        "model_max_length": limit if limit < _NO_LIMIT else None,
        "padding_side": tokenizer.padding_side,
        "special_tokens": {name: str(token) for name, token in sorted(tokenizer.special_tokens_map.items())},
        "probe_digest": hashlib.sha256(json.dumps(ids, separators=(",", ":")).encode()).hexdigest(),
    }
