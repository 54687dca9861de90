"""All inspectors over the files of one revision. Reads bytes, JSON, YAML and syntax trees; executes nothing.

In: {"model_id", "files": {path: {"blob_path", "size", "sha256"}}, "approved_labels": {...} | null}.
Out: {"card_text", "card_data", "config", "label_mapping", "facts", "findings", "references", "remote_code_sha256"}.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from registry.canonical import sha256_json
from registry.inspection.card import MAX_CARD_BYTES, inspect_card
from registry.inspection.code_keys import CodePlaces, inspect_code_keys
from registry.inspection.configuration import inspect_config, inspect_labels
from registry.inspection.containers import sniff
from registry.inspection.documents import BadDocument, read_json
from registry.inspection.findings import Inspection
from registry.inspection.formats import inspect_formats
from registry.inspection.licence import MAX_LICENCE_BYTES, inspect_licence
from registry.inspection.names import inspect_name
from registry.inspection.python_code import inspect_python
from registry.inspection.references import Reference, is_repository
from registry.inspection.source import SourceFile
from registry.inspection.templates import inspect_template, templates_in
from registry.inspection.tokenizer import inspect_tokenizer
from registry.inspection.weights import inspect_index, inspect_weights, read_header

MAX_SIDE_JSON = 8 * 1024 * 1024  # configurations are kilobytes; the large vocabularies are read by name
_VOCABULARIES = ("tokenizer.json", "vocab.json", "added_tokens.json")
_MAIN = ("config.json", "tokenizer_config.json")
_LICENCES = ("license", "licence", "copying")


class Revision:
    """The files by path, and the result as it grows."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.files = {
            str(path): SourceFile(
                str(path), Path(entry["blob_path"]), int(entry["size"]), str(entry["sha256"])
            )
            for path, entry in order["files"].items()
        }
        self.facts: dict[str, Any] = {}
        self.findings: list[dict[str, Any]] = []

    def add(self, name: str, inspection: Inspection) -> None:
        self.facts[name] = inspection.facts
        self.findings += [finding.as_dict() for finding in inspection.findings]

    def also(self, inspection: Inspection) -> None:
        """Findings of an inspector that has no facts under its own name."""
        self.findings += [finding.as_dict() for finding in inspection.findings]

    def json(self, path: str) -> dict[str, Any] | None:
        """Raises BadDocument: config, tokenizer and the like must be what they say."""
        file = self.files.get(path)
        return None if file is None else read_json(path, file.read(64 * 1024 * 1024))


def inspect_revision(order: dict[str, Any]) -> dict[str, Any]:
    """See above. Raises BadDocument when config, tokenizer or weights are not what they say: such a revision is not taken."""
    revision = Revision(order)
    files = list(revision.files.values())
    readme = revision.files.get("README.md")
    card_text, card_data, card = inspect_card(readme.head(MAX_CARD_BYTES + 1) if readme else None)
    revision.add("card", card)
    revision.add("name", inspect_name(str(order["model_id"])))
    headers = {file.path: _header(file) for file in files if file.name.endswith(".safetensors")}
    documents = _documents(revision)
    places = _code_places(revision, documents)
    manifest, python = inspect_python(files, places.entries)
    config = documents.get("config.json", {})
    config_inspection = inspect_config(config, [entry["path"] for entry in manifest], places.keys)
    revision.add("config", config_inspection)
    revision.facts["code"] = manifest
    revision.also(python)
    label_mapping, labels = inspect_labels(config, order.get("approved_labels"))
    revision.add("labels", labels)
    revision.add(
        "tokenizer",
        inspect_tokenizer(
            revision.json("tokenizer.json"),
            documents.get("tokenizer_config.json"),
            config_inspection.facts["vocab_size"],
        ),
    )
    weights = inspect_weights(headers)
    _indices(revision, documents, headers, weights)
    revision.add("weights", weights)
    revision.add("formats", inspect_formats(files))
    _templates(revision, documents)
    revision.add("licence", inspect_licence(card_data, _licence_files(files)))
    for base in revision.facts["licence"]["base_models"]:
        if is_repository(base):
            places.references.append(Reference("lineage", base, "", "README.md", "base_model"))
    return {
        "card_text": card_text,
        "card_data": card_data,
        "config": config,
        "label_mapping": label_mapping,
        "facts": revision.facts,
        "findings": revision.findings,
        "references": [reference.as_dict() for reference in _once(places.references)],
        "remote_code_sha256": _remote_code(manifest, places),
    }


def _header(file: SourceFile) -> dict[str, Any]:
    try:
        with file.open() as source:
            return read_header(file.path, source, file.size)
    except BadDocument as error:
        found = sniff(file)
        if found:
            raise BadDocument(
                f"{file.path} is {found.label}, whatever its name says. {error.message} Nothing of it was loaded."
            ) from error
        raise


def _documents(revision: Revision) -> dict[str, Any]:
    """Every JSON document of the repository but the large vocabularies. A side file that is broken is a finding."""
    documents: dict[str, Any] = {}
    broken = Inspection()
    for path, file in sorted(revision.files.items()):
        if not file.name.endswith(".json") or file.name in _VOCABULARIES:
            continue
        if path in _MAIN:
            documents[path] = revision.json(path) or {}
            continue
        try:
            documents[path] = read_json(path, file.read(MAX_SIDE_JSON), any_value=True)
        except BadDocument as error:
            broken.warn(path, error.message, "What it would tell a loader is not known. Ask the author.")
    revision.also(broken)
    return documents


def _code_places(revision: Revision, documents: dict[str, Any]) -> CodePlaces:
    everything = CodePlaces()
    result = Inspection()
    for path, document in documents.items():
        if path.endswith(".index.json"):
            continue
        places = inspect_code_keys(path, document, result)
        everything.keys += places.keys
        everything.entries += places.entries
        everything.references += places.references
    for path in revision.files:
        if path.startswith("custom_generate/") or "/custom_generate/" in path:
            everything.keys.append(f"{path}:custom_generate")
            result.warn(
                path, "A loader runs the files of this folder to generate text.", "Have them audited."
            )
    everything.keys.sort()
    revision.also(result)
    return everything


def _indices(
    revision: Revision, documents: dict[str, Any], headers: dict[str, dict[str, Any]], result: Inspection
) -> None:
    for path, document in documents.items():
        if path.endswith(".index.json") and isinstance(document, dict):
            inspect_index(path, document, set(revision.files), headers, result)


def _templates(revision: Revision, documents: dict[str, Any]) -> None:
    result = Inspection()
    for path, document in documents.items():
        for key, text in templates_in(path, document):
            inspect_template(path, key, text, result)
    for path, file in revision.files.items():
        if file.name.endswith((".jinja", ".jinja2", ".j2")):
            inspect_template(path, "", file.head(1024 * 1024).decode("utf-8", "replace"), result)
    revision.also(result)


def _licence_files(files: list[SourceFile]) -> dict[str, str]:
    return {
        file.path: file.head(MAX_LICENCE_BYTES).decode("utf-8", "replace")
        for file in files
        if not file.folder and file.name.startswith(_LICENCES) and not file.name.endswith((".json", ".py"))
    }


def _once(references: list[Reference]) -> list[Reference]:
    return list(dict.fromkeys(references))[:100]


def _remote_code(manifest: list[dict[str, Any]], places: CodePlaces) -> str | None:
    """Digest of everything that an audit speaks about; None when there is no code."""
    if not manifest and not places.keys:
        return None
    return sha256_json(
        {
            "files": sorted([entry["path"], entry["sha256"], entry["reachable"]] for entry in manifest),
            "keys": sorted(places.keys),
        }
    )
