"""config.json: the architecture and the label mapping. What could run code is in code_keys.py."""

from __future__ import annotations

from typing import Any

from registry.inspection.findings import Inspection


def inspect_config(config: dict[str, Any], python_files: list[str], code_keys: list[str]) -> Inspection:
    """Facts: architectures, model_type, max_position, num_labels, and what the code inspectors found."""
    result = Inspection()
    architectures = config.get("architectures")
    result.facts = {
        "architectures": [str(a)[:100] for a in architectures][:10]
        if isinstance(architectures, list)
        else [],
        "model_type": str(config.get("model_type", ""))[:80],
        "max_position_embeddings": _integer(config.get("max_position_embeddings")),
        "hidden_size": _integer(config.get("hidden_size") or config.get("dim")),
        "layers": _integer(config.get("num_hidden_layers") or config.get("n_layers")),
        "vocab_size": _integer(config.get("vocab_size")),
        "dtype": str(config.get("dtype") or config.get("torch_dtype") or ""),
        "code_keys": code_keys,
        "python_files": python_files,
    }
    if not result.facts["architectures"]:
        result.warn("config.json", "No architecture is named, so a loader has to guess.")
    return result


def _integer(value: Any) -> int | None:
    return value if type(value) is int else None


def inspect_labels(
    config: dict[str, Any], previous: dict[str, str] | None
) -> tuple[dict[str, str], Inspection]:
    """(label mapping {"0": "negative"}, inspection). `previous` is the mapping of the last approved revision, if any.

    A changed mapping keeps every answer valid JSON and turns every decision around, so it is said loudly.
    """
    result = Inspection()
    raw = config.get("id2label")
    mapping = {str(k): str(v)[:200] for k, v in raw.items()} if isinstance(raw, dict) else {}
    back = config.get("label2id")
    if mapping and isinstance(back, dict):
        inverse = {str(v)[:200]: str(k) for k, v in raw.items()}  # type: ignore[union-attr]
        if inverse != {str(k)[:200]: str(v) for k, v in back.items()}:
            result.warn(
                "config.json",
                "id2label and label2id contradict each other.",
                "Ask the author which one is true.",
            )
    if len(set(mapping.values())) != len(mapping):
        result.warn(
            "config.json", "Two ids bear the same label.", "Answers with this label cannot be told apart."
        )
    if any(label.upper() == f"LABEL_{key}" for key, label in mapping.items()):
        result.warn(
            "config.json",
            "The labels are generic (LABEL_0 ...), so nobody can tell what an answer means.",
            "Find the meaning in the card and write it into the review.",
        )
    if previous and mapping and mapping != previous:
        was = ", ".join(f"{k}={v}" for k, v in sorted(previous.items()))
        now = ", ".join(f"{k}={v}" for k, v in sorted(mapping.items()))
        result.fail(
            "config.json",
            f"The label mapping changed: it was {was} at the last approved revision and is {now} here.",
            "The same weights would now name other classes. Compare the golden-set results before you decide.",
        )
    result.facts = {"labels": len(mapping), "changed": bool(previous and mapping and mapping != previous)}
    return mapping, result
