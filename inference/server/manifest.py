"""What to serve, as the control plane says it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from inference.server.errors import ManifestError

_SHA1, _SHA256 = re.compile(r"[0-9a-f]{40}"), re.compile(r"[0-9a-f]{64}")
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_PART = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,95}"
_MODEL_ID = re.compile(f"{_PART}/{_PART}")


class FileEntry(NamedTuple):
    """One approved file: path inside the repository, size in bytes, sha256 in hex."""

    path: str
    size: int
    sha256: str


class SlotKey(NamedTuple):
    """What a caller addresses."""

    team: str
    model_id: str
    channel: str


class ModelKey(NamedTuple):
    """What is loaded. Two teams or channels that point at the same one share it."""

    model_id: str
    commit_sha: str
    manifest_sha256: str
    max_length: int


@dataclass(frozen=True)
class ServedModel:
    """One line of the manifest: this team's channel serves this revision."""

    team: str
    model_id: str
    channel: str
    commit_sha: str
    manifest_sha256: str
    task: str
    max_length: int
    files: tuple[FileEntry, ...]

    @property
    def slot(self) -> SlotKey:
        return SlotKey(self.team, self.model_id, self.channel)

    @property
    def key(self) -> ModelKey:
        return ModelKey(self.model_id, self.commit_sha, self.manifest_sha256, self.max_length)


@dataclass(frozen=True)
class Manifest:
    """All of it. `blocked` are (model_id, commit_sha) that must not answer even while their successor
    loads."""

    generation: str
    models: tuple[ServedModel, ...]
    blocked: frozenset[tuple[str, str]] = frozenset()


def parse_manifest(value: Any) -> Manifest:
    """The manifest, checked as a whole: a wrong one is refused and the last good one stays.

    Raises ManifestError naming the place.
    """
    if not isinstance(value, dict) or not isinstance(value.get("models"), list):
        raise ManifestError("The manifest must be an object with a list of models.")
    models = tuple(_model(item, number) for number, item in enumerate(value["models"]))
    if len({model.slot for model in models}) != len(models):
        raise ManifestError("The manifest names a team's channel of a model twice.")
    blocked = value.get("blocked", [])
    if not isinstance(blocked, list) or not all(isinstance(item, dict) for item in blocked):
        raise ManifestError("blocked must be a list of objects.")
    return Manifest(
        generation=_text(value, "generation", "the manifest", re.compile(r"[\x21-\x7e]{1,200}")),
        models=models,
        blocked=frozenset(
            (_text(item, "model_id", "blocked", _MODEL_ID), _text(item, "commit_sha", "blocked", _SHA1))
            for item in blocked
        ),
    )


def _model(item: Any, number: int) -> ServedModel:
    place = f"models[{number}]"
    if not isinstance(item, dict) or not isinstance(item.get("files"), list):
        raise ManifestError(f"{place} must be an object with a list of files.")
    max_length = item.get("max_length")
    if not isinstance(max_length, int) or isinstance(max_length, bool) or max_length < 1:
        raise ManifestError(f"{place}.max_length must be a whole number from 1.")
    files = tuple(_file(entry, f"{place}.files[{i}]") for i, entry in enumerate(item["files"]))
    if len({entry.path for entry in files}) != len(files):
        raise ManifestError(f"{place} names a file twice.")
    return ServedModel(
        team=_text(item, "team", place, _SLUG),
        model_id=_text(item, "model_id", place, _MODEL_ID),
        channel=_text(item, "channel", place, _SLUG),
        commit_sha=_text(item, "commit_sha", place, _SHA1),
        manifest_sha256=_text(item, "manifest_sha256", place, _SHA256),
        task=str(item.get("task") or ""),
        max_length=max_length,
        files=files,
    )


def _file(entry: Any, place: str) -> FileEntry:
    if not isinstance(entry, dict):
        raise ManifestError(f"{place} must be an object.")
    size = entry.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise ManifestError(f"{place}.size must be a whole number of bytes.")
    path = _text(entry, "path", place, re.compile(r"[^\x00-\x1f\x7f\\]{1,1000}"))
    parts = path.split("/")
    # Written into a folder of ours later: a path that leaves it must not even be remembered.
    if PurePosixPath(path).is_absolute() or any(part in ("", ".", "..") for part in parts):
        raise ManifestError(f"{place}.path is not a plain relative path.")
    return FileEntry(path, size, _text(entry, "sha256", place, _SHA256))


def _text(item: dict[str, Any], name: str, place: str, pattern: re.Pattern[str]) -> str:
    value = item.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ManifestError(f"{place}.{name} is missing or not well formed.")
    return value
