"""Is this folder something that may be loaded? Answered before any library opens it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from inference.engine.errors import ModelLoadError

# Each group is one whole tokenizer; the first name is the one that carries the vocabulary.
TOKENIZER_FILES: tuple[tuple[str, ...], ...] = (
    ("tokenizer.json",),
    ("vocab.txt",),
    ("vocab.json", "merges.txt"),
    ("sentencepiece.bpe.model",),
    ("spiece.model",),
    ("spm.model",),
    ("tokenizer.model",),
)


def check_snapshot(snapshot: Path, *, weights: bool = True) -> None:
    """Raise ModelLoadError unless the folder holds config.json, a tokenizer and (with `weights`) all its
    safetensors.

    Codes: no_snapshot, no_config, bad_config, no_tokenizer, no_safetensors.
    """
    if not snapshot.is_dir():
        raise ModelLoadError("The snapshot folder does not exist.", code="no_snapshot")
    if not (snapshot / "config.json").is_file():
        raise ModelLoadError(
            "The snapshot has no config.json, so its architecture is unknown.", code="no_config"
        )
    read_config(snapshot)
    if not any(all((snapshot / name).is_file() for name in group) for group in TOKENIZER_FILES):
        known = ", ".join(" + ".join(group) for group in TOKENIZER_FILES)
        raise ModelLoadError(
            f"The snapshot has no tokenizer files (one of: {known}), so texts cannot be encoded.",
            code="no_tokenizer",
        )
    if weights:
        _check_weights(snapshot)


def read_config(snapshot: Path) -> dict[str, Any]:
    """The snapshot's config.json as a dict. Raises ModelLoadError (bad_config) when it is no JSON object."""
    return _read_object(snapshot / "config.json", code="bad_config")


def _check_weights(snapshot: Path) -> None:
    index = snapshot / "model.safetensors.index.json"
    if index.is_file():
        weight_map = _read_object(index, code="no_safetensors").get("weight_map")
        shards = set(weight_map.values()) if isinstance(weight_map, dict) else set()
        missing = sorted(str(name) for name in shards if not (snapshot / str(name)).is_file())
        if missing or not shards:
            raise ModelLoadError(
                f"The safetensors index names files that the snapshot lacks: {', '.join(missing) or 'all'}.",
                code="no_safetensors",
            )
    elif not any(snapshot.glob("*.safetensors")):
        raise ModelLoadError(
            "The snapshot has no *.safetensors file; weights in pickle formats are never loaded.",
            code="no_safetensors",
        )


def _read_object(path: Path, *, code: str) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise ModelLoadError(f"{path.name} of the snapshot is not readable JSON.", code=code) from exc
    if not isinstance(value, dict):
        raise ModelLoadError(f"{path.name} of the snapshot is not a JSON object.", code=code)
    return value
