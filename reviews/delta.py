"""What a new commit changes for people: from changed paths and facts to classes, and from classes to items. Pure.

Unknown files count as weights and code: what nobody can name is looked at again. Formatting of config.json alone counts as
`config`, because cited lines move. `run` is no class of a change: figures belong to one commit, so they are always asked again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from django.utils.translation import gettext_noop as _

from registry.inspection.tokenizer import TOKENIZER_FILES
from registry.models import Revision
from registry.remote_code import is_code
from registry.words import gettext
from reviews.checklists.template import KINDS

CLASSES = tuple(kind for kind in KINDS if kind != "run")
LABEL_KEYS = ("id2label", "label2id", "num_labels")
MAX_WHY = 20
_WEIGHTS = (
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".onnx_data", ".gguf", ".ot", ".npy",
    ".npz", ".pb", ".tflite", ".safetensors.index.json", ".bin.index.json",
)  # fmt: skip
_TOKENIZER = (".jinja", ".model", ".spm", ".codes")
_TOKENIZER_NAMES = {name.lower() for name in TOKENIZER_FILES} | {"added_tokens.json", "chat_template.json"}
_LICENCE = ("license", "licence", "notice", "copying", "use_policy")
_READ = ("", ".md", ".txt", ".rst", ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".csv", ".tsv", ".jsonl")
_CONFIG = (".json", ".yaml", ".yml", ".toml")
_NOTHING = {".gitattributes", ".gitignore"}
_UNKNOWN = ("weights", "code")


@dataclass(frozen=True)
class Side:
    """One commit, as far as it is compared. `files`: {path: sha256}."""

    files: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, Any] = field(default_factory=dict)
    licence: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    code: str | None = None
    quarantined: frozenset[str] = frozenset()


def side_of(revision: Revision) -> Side:
    facts = revision.facts if isinstance(revision.facts, dict) else {}
    return Side(
        files=dict(revision.files.values_list("path", "blob_id")),
        config=revision.config,
        labels=revision.label_mapping,
        licence={"stated": revision.license, **facts.get("licence", {})},
        tokenizer=facts.get("tokenizer", {}),
        code=revision.remote_code_sha256,
        quarantined=frozenset(facts.get("formats", {}).get("quarantined", [])),
    )


def classes_of_path(path: str) -> tuple[str, ...]:
    """What a change of this file is about, by its name. config.json is looked into by `classify`."""
    name = PurePosixPath(path).name.lower()
    if is_code(name) or name == "requirements.txt":
        return ("code",)
    if name.endswith(_WEIGHTS):
        return ("weights",)
    if name in _TOKENIZER_NAMES or name.endswith(_TOKENIZER) or name.startswith("tokenizer"):
        return ("tokenizer",)
    if name in _NOTHING:
        return ()
    is_read = PurePosixPath(name).suffix in _READ
    if is_read and name.startswith(_LICENCE):
        return ("licence",)
    if is_read and ("vocab" in name or "merges" in name):
        return ("tokenizer",)
    if is_read and (PurePosixPath(name).suffix or name == "readme"):
        return ("card",)
    return ("config",) if name.endswith(_CONFIG) else _UNKNOWN


def changed_paths(before: Side, after: Side) -> list[str]:
    return sorted(
        path for path in {*before.files, *after.files} if before.files.get(path) != after.files.get(path)
    )


def classify(before: Side, after: Side) -> dict[str, list[str]]:
    """{class: why}, in the order of CLASSES; `why` are paths, keys or facts."""
    found: dict[str, list[str]] = {name: [] for name in CLASSES}
    quarantined = before.quarantined | after.quarantined
    for path in changed_paths(before, after):
        classes = _of_config(before, after) if path == "config.json" else classes_of_path(path)
        for name in {*classes, *(_UNKNOWN if path in quarantined else ())}:
            found[name].append(path)
    for name, what, differs in (
        ("licence", _("the licence as it was read"), before.licence != after.licence),
        ("labels", _("the label mapping"), before.labels != after.labels),
        ("config", _("the configuration as it was read"), _rest(before.config) != _rest(after.config)),
        ("tokenizer", _("the tokenizer's facts"), before.tokenizer != after.tokenizer),
        ("code", _("the code's digest"), before.code != after.code),
    ):
        if differs and not found[name]:
            found[name].append(what)
    return {name: why for name, why in found.items() if why}


def _rest(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in LABEL_KEYS}


def _of_config(before: Side, after: Side) -> tuple[str, ...]:
    names = any(before.config.get(key) != after.config.get(key) for key in LABEL_KEYS)
    labels = ("labels",) if names or before.labels != after.labels else ()
    return labels if labels and _rest(before.config) == _rest(after.config) else ("config", *labels)


def as_data(classes: Mapping[str, list[str]]) -> list[dict[str, Any]]:
    """As it is kept with the request and shown in the API."""
    return [
        {"class": name, "why": why[:MAX_WHY], "more": max(0, len(why) - MAX_WHY)}
        for name, why in classes.items()
    ]


def asked_again(item: Mapping[str, Any], earlier: Mapping[str, Any] | None, changed: Iterable[str]) -> str:
    """Why an item is asked again, in a few words; empty when its answer may be carried over."""
    if earlier is None:
        return gettext("it was not asked then")
    if dict(item) != dict(earlier):
        return gettext("it is asked in other words now")
    rests_on = item.get("rests_on", KINDS)  # an item that does not say rests on everything
    if "run" in rests_on:
        return gettext("it rests on measurements of this commit")
    hit = [name for name in rests_on if name in set(changed)]
    return gettext("it rests on what changed: %(hit)s", hit=", ".join(hit)) if hit else ""
