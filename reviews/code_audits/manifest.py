"""What an audit of a revision is about: its code files, and the configuration keys that make a loader run code."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from registry.canonical import sha256_text
from registry.models import Revision, RevisionFile
from registry.remote_code import is_code

# Judged like a file: where the code comes from is as decisive as what it says. No repository can have this path.
KEYS_PATH = "(code keys of the configuration)"


@dataclass(frozen=True)
class CodeFile:
    """`flagged`: [{"line", "call", "why"}], what an automatic reading points at. `keys` is the text of the pseudo-file."""

    path: str
    sha256: str
    reachable: bool
    flagged: list[dict[str, Any]] = field(default_factory=list)
    keys: str = ""
    size: int = 0

    @property
    def is_keys(self) -> bool:
        return self.path == KEYS_PATH


def keys_text(revision: Revision) -> str:
    """`config.json:auto_map.AutoModel=modeling_x.Model`, a key a line; empty when there are none."""
    keys = _facts(revision, "config", {}).get("code_keys", [])
    return "".join(f"{key}\n" for key in sorted(str(key) for key in keys))


def code_files(revision: Revision) -> list[CodeFile]:
    """Everything that needs a verdict, keys first, then by path. Empty when the revision carries no code."""
    if revision.remote_code_sha256 is None:
        return []
    read = {entry["path"]: entry for entry in _facts(revision, "code", []) if isinstance(entry, dict)}
    rows = RevisionFile.objects.filter(revision=revision).order_by("path")
    # The files themselves are the list; what intake read in them only helps.
    files = [
        CodeFile(
            path=path,
            sha256=sha256,
            reachable=bool(read.get(path, {}).get("reachable", True)),
            flagged=list(read.get(path, {}).get("flagged", [])),
            size=size,
        )
        for path, sha256, size in rows.values_list("path", "blob_id", "blob__size")
        if is_code(path)
    ]
    text = keys_text(revision)
    if text or not files:  # code without a file and without a known key is never passed by nobody
        text = text or f"{revision.remote_code_sha256}\n"
        files.insert(0, CodeFile(KEYS_PATH, sha256_text(text), True, keys=text, size=len(text.encode())))
    return files


def _facts(revision: Revision, part: str, empty: Any) -> Any:
    found = revision.facts.get(part, empty) if isinstance(revision.facts, dict) else empty
    return found if isinstance(found, type(empty)) else empty
