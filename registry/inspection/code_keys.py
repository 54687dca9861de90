"""Every place where a configuration file can run code or reach another repository, at any depth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from registry.inspection.findings import Inspection
from registry.inspection.references import Reference, is_repository
from registry.inspection.tokenizer_classes import is_known

AUDIT = "A security auditor must settle it; until then this revision cannot be approved."
ATTENTION = {
    "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention", "paged_attention",
    "sdpa_paged", "eager_paged", "flash_paged", "flash_attention",
}  # fmt: skip
_FOLLOWED_KEYS = {
    "base_model_name_or_path": "adapter_base",
    "tokenizer_name": "tokenizer",
    "tokenizer_name_or_path": "tokenizer",
    "tokenizer_id": "tokenizer",
    "backbone": "backbone",
    "hub_kernel": "kernel",
    "kernel": "kernel",
    "kernel_repo": "kernel",
    "kernel_config": "kernel",
}
_PART_ENDINGS = (
    "name_or_path",
    "_model_name",
    "_tower",
    "_tower_name",
    "_checkpoint",
    "_repo",
    "repo_id",
    "model_id",
)
_LINEAGE = {"_name_or_path", "name_or_path", "base_model", "parent_model", "source_model"}
_EMPTY: tuple[Any, ...] = (None, False, "", {}, [])


@dataclass
class CodePlaces:
    """`keys` are the places that need an audit ("file:key=value"); `entries` the modules that a loader would import."""

    keys: list[str] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    references: list[Reference] = field(default_factory=list)


def walk(value: Any, prefix: str = "") -> Iterator[tuple[str, str, Any]]:
    """(full key, last key, value) of every entry, depth first; list positions as [n]."""
    stack: list[tuple[str, str, Any]] = [(prefix, "", value)]
    while stack:
        full, last, item = stack.pop()
        if last:
            yield full, last, item
        if isinstance(item, dict):
            stack += [(f"{full}.{k}" if full else str(k), str(k), v) for k, v in reversed(item.items())]
        elif isinstance(item, list):
            stack += [(f"{full}[{n}]", "", v) for n, v in reversed(list(enumerate(item)))]


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in _strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in _strings(item)]
    return []


def inspect_code_keys(path: str, document: Any, result: Inspection) -> CodePlaces:
    """Reads one JSON document; findings go to `result`."""
    places = CodePlaces()
    folder = path[: path.rfind("/") + 1]
    for full, key, value in walk(document):
        if value in _EMPTY:
            continue
        if key == "auto_map":
            _auto_map(path, folder, full, value, places, result)
        elif key == "trust_remote_code":
            _needs_audit(
                path, full, value, "asks the loader to trust code from the repository", places, result
            )
        elif "attn_implementation" in key or key in ("experts_implementation", "use_kernels"):
            _attention(path, full, key, value, places, result)
        elif key in ("custom_generate", "custom_pipelines"):
            _custom(path, folder, full, key, value, places, result)
        elif key in ("custom_code", "code_revision", "custom_objects", "__class__", "py/object", "_target_"):
            _needs_audit(path, full, value, "names code that a loader may run", places, result)
        elif key == "tokenizer_class" and isinstance(value, str):
            _tokenizer_class(path, full, value, places, result)
        elif key == "type" and path.endswith("modules.json") and isinstance(value, str):
            _sentence_module(path, folder, full, value, places, result)
        elif isinstance(value, str):
            _reference(path, full, key, value, document, places, result)
    return places


def _needs_audit(path: str, full: str, value: Any, what: str, places: CodePlaces, result: Inspection) -> None:
    result.warn(path, f"The key {full[:120]!r} {what}.", AUDIT, key=full[:120])
    places.keys.append(f"{path}:{full}={str(value)[:300]}")


def _auto_map(path: str, folder: str, full: str, value: Any, places: CodePlaces, result: Inspection) -> None:
    _needs_audit(path, full, value, "makes a loader run code of the repository", places, result)
    for reference in _strings(value):
        repository, separator, name = reference.rpartition("--")
        if separator:
            places.references.append(Reference("code", repository, "", path, full))
            result.fail(
                path,
                f"The key {full[:80]!r} runs code of another repository: {reference[:120]!r}.",
                "That repository must be approved at one commit first; its code is not in the files that are reviewed here.",
                key=full[:120],
            )
        else:
            places.entries.append(folder + name.rsplit(".", 1)[0].replace(".", "/") + ".py")


def _attention(path: str, full: str, key: str, value: Any, places: CodePlaces, result: Inspection) -> None:
    texts = _strings(value)
    if key.endswith("_autoset") and isinstance(value, bool):
        return
    named = [text for text in texts if text not in ATTENTION]
    if texts and not named and key in ("attn_implementation", "_attn_implementation"):
        result.info(path, f"The key {full[:80]!r} chooses a built-in attention.", key=full[:120])
        return
    _needs_audit(path, full, value, "can make a loader fetch and run a compute kernel", places, result)
    for text in named:
        repository = text.split("|")[-1].split("@")[0].split(":")[0]  # "flash|org/repo@revision:function"
        if is_repository(repository):
            revision = text.split("@", 1)[1].split(":")[0] if "@" in text else ""
            places.references.append(Reference("kernel", repository, revision, path, full))
            result.fail(
                path,
                f"The key {full[:80]!r} runs a compute kernel of another repository: {text[:120]!r}.",
                "Remove the key, or have that repository approved at one commit.",
                key=full[:120],
            )


def _custom(
    path: str, folder: str, full: str, key: str, value: Any, places: CodePlaces, result: Inspection
) -> None:
    _needs_audit(path, full, value, "makes a loader run code", places, result)
    for text in _strings(value):
        if is_repository(text):
            places.references.append(Reference("generation_code", text, "", path, full))
            result.fail(
                path,
                f"The key {full[:80]!r} runs code of another repository: {text[:120]!r}.",
                "That repository must be approved at one commit first.",
                key=full[:120],
            )
        elif key == "custom_pipelines" and text.replace(".", "").isidentifier() and "." in text:
            places.entries.append(folder + text.rsplit(".", 1)[0].replace(".", "/") + ".py")


def _tokenizer_class(path: str, full: str, value: str, places: CodePlaces, result: Inspection) -> None:
    if "/" in value or "--" in value:
        _needs_audit(path, full, value, "takes a tokenizer class from another repository", places, result)
        repository = value.rpartition("--")[0] or value
        if is_repository(repository):
            places.references.append(Reference("code", repository, "", path, full))
    elif not is_known(value):
        result.warn(
            path,
            f"The tokenizer class {value[:80]!r} is not one that transformers knows, so it can only come from code.",
            "Ask the author where the class is; without its code the tokenizer cannot be loaded.",
            key=full[:120],
        )


def _sentence_module(
    path: str, folder: str, full: str, value: str, places: CodePlaces, result: Inspection
) -> None:
    if not value.startswith("sentence_transformers."):
        _needs_audit(
            path, full, value, "makes sentence-transformers import a class of its own", places, result
        )
        places.entries.append(folder + value.rsplit(".", 1)[0].replace(".", "/") + ".py")


def _reference(
    path: str, full: str, key: str, value: str, document: Any, places: CodePlaces, result: Inspection
) -> None:
    if key in _LINEAGE:
        if is_repository(value):
            places.references.append(Reference("lineage", value, "", path, full))
        return
    role = _FOLLOWED_KEYS.get(key) or ("part" if key.endswith(_PART_ENDINGS) else "")
    if not role or not is_repository(value):
        return
    revision = document.get("revision") if role == "adapter_base" and isinstance(document, dict) else ""
    places.references.append(Reference(role, value, str(revision or ""), path, full))
    result.warn(
        path,
        f"The key {full[:80]!r} makes a loader fetch another repository: {value[:120]!r}.",
        "It must be approved at one commit before this revision can be.",
        key=full[:120],
    )
