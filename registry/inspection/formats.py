"""File formats by allow-list and by content: what is not known to be safe is said, whatever its name."""

from __future__ import annotations

from typing import Any

from registry.inspection import containers, pickles
from registry.inspection.findings import Inspection
from registry.inspection.source import SourceFile

TEXT = (".txt", ".md", ".jinja", ".yaml", ".yml", ".codes", ".json", ".jsonl", ".py", ".csv", ".tsv")
TEXT_NAMES = (
    "license", "licence", "notice", "readme", "copying", ".gitattributes", ".gitignore", "license.rst", "use_policy",
)  # fmt: skip
SENTENCEPIECE = (".model", ".spm")
SCANNED = {"pickle", "zip", "polyglot", "numpy", "7z"}  # what picklescan has an opinion about
_ADVICE = "It is never loaded nor given out."
_CHECKED_BYTES = 4 * 1024 * 1024


def inspect_formats(files: list[SourceFile]) -> Inspection:
    """Facts: `quarantined` (paths kept as evidence, never given out or loaded), `kinds` {path: kind} of recognised
    containers, `scans` {path: picklescan's verdict}."""
    result = Inspection()
    quarantined: list[str] = []
    kinds: dict[str, str] = {}
    scans: dict[str, Any] = {}
    for file in sorted(files, key=lambda f: f.path):
        found = containers.sniff(file)
        if found and file.name.endswith(".py") and found.kind == "script":
            found = None  # an interpreter line is nothing more than a comment in Python
        if found:
            quarantined.append(file.path)
            kinds[file.path] = found.kind
            result.warn(file.path, f"This file is {found.label}; opening it can run code.", _ADVICE)
            scannable = _look_inside(file, found.kind, result)
            if found.kind in SCANNED and scannable:
                scans[file.path] = pickles.scan(file, result)
            continue
        problem = _not_allowed(file)
        if problem:
            quarantined.append(file.path)
            result.warn(file.path, problem, _ADVICE)
    result.facts = {"quarantined": quarantined, "kinds": kinds, "scans": scans}
    return result


def _look_inside(file: SourceFile, kind: str, result: Inspection) -> bool:
    """Says what is wrong with a container; False when it must not even be scanned."""
    if kind in ("zip", "polyglot"):
        contents = containers.zip_contents(file)
        for problem in contents.problems:
            result.warn(
                file.path, f"About this archive: {problem}.", "Nothing that it holds was let through."
            )
        return contents.safe_to_scan
    if kind == "numpy" and containers.numpy_holds_objects(file.head(8192)):
        result.warn(
            file.path, "The array holds Python objects, which numpy stores as a pickle.", "Never load it."
        )
    if kind == "onnx":
        for path in containers.onnx_external_paths(file):
            outside = path.startswith(("/", "\\")) or ".." in path.replace("\\", "/").split("/")
            say = result.fail if outside else result.warn
            say(
                file.path,
                f"The graph reads tensors from another file: {path[:120]!r}.",
                "A path that leaves the repository reads files of whoever loads it."
                if outside
                else "It is quarantined with the graph.",
                key=path[:120],
            )
    return True


def _not_allowed(file: SourceFile) -> str:
    """Why a file without a known container is not on the allow-list; "" when it is."""
    name = file.name
    if name.endswith(".safetensors"):
        return ""  # its header is checked byte by byte (weights.py)
    if name.endswith(TEXT) or name in TEXT_NAMES or name.split(".")[0] in ("license", "licence", "notice"):
        if containers.is_text(file.head(_CHECKED_BYTES)):
            return ""
        return "This file has the name of a text and holds something else."
    if name.endswith(SENTENCEPIECE):
        head = file.head(_CHECKED_BYTES)
        # a serialised ModelProto begins with field 1 (pieces); tiktoken vocabularies are text
        return "" if head[:1] == b"\x0a" or containers.is_text(head) else "This is no tokenizer vocabulary."
    return "This file's format is not on the list of known ones."
