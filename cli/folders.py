"""Local copies against the lock: a snapshot folder, or the Hugging Face cache. Every byte is read; nothing is executed.

A link is followed only while it stays inside `root` (the folder, or the whole cache for its blobs).
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cli.document import COMMIT, Lock, LockedFile, LockedModel
from cli.findings import CannotCheck, Finding

CHUNK = 1024 * 1024
# What huggingface_hub writes beside a snapshot_download(local_dir=...): notes about downloads, never loaded.
DOWNLOAD_NOTES = re.compile(
    r"\.cache/huggingface/(\.gitignore|CACHEDIR\.TAG|download/.*\.(metadata|lock|incomplete)|trees/[0-9a-f]{40}\.json)"
)


@dataclass(frozen=True)
class Entry:
    """Something below a snapshot: `kind` is file, or unsafe with `why`. `target` is where the bytes lie."""

    path: str
    target: Path
    why: str = ""


def check_snapshot(folder: Path, model: LockedModel, *, partial: bool = False) -> list[Finding]:
    """Findings about one folder. Raises CannotCheck when it is not a folder or cannot be read."""
    base = _existing(folder)
    # snapshots/<sha> of a cache holds links into ../../blobs: then the repository's folder is the border.
    is_cached = base.parent.name == "snapshots" and base.parent.parent.name.startswith("models--")
    return _compare(base, str(folder), base.parent.parent if is_cached else base, model, partial)


def check_cache(cache: Path, lock: Lock, *, partial: bool = False) -> tuple[list[Finding], int]:
    """Findings about a Hugging Face cache, and the number of locked snapshots that were compared."""
    root = _existing(cache)
    findings: list[Finding] = []
    compared = 0
    for model in lock.models.values():
        if not COMMIT.fullmatch(model.revision):
            continue  # said already (lock-unpinned); such a text must not become a path
        repository = root / f"models--{model.model_id.replace('/', '--')}"
        shown = f"{cache}/{repository.name}"
        snapshot = repository / "snapshots" / model.revision
        if repository.is_symlink() or (repository / "snapshots").is_symlink() or snapshot.is_symlink():
            findings.append(Finding("file-unsafe", f"The folder of {model.short} is a link.", shown))
            continue
        if not snapshot.is_dir():
            sentence = f"{model.short} is not in the cache. Download it with revision={model.revision!r}."
            findings.append(Finding("cache-missing", sentence, shown))
        else:
            compared += 1
            shown_snapshot = f"{shown}/snapshots/{model.revision}"
            findings += _compare(snapshot, shown_snapshot, root, model, partial)
        findings += _others(repository, shown, model)
    named = {f"models--{model_id.replace('/', '--')}" for model_id in lock.models}
    for name in sorted(path.name for path in _listed(root)):
        if name.startswith("models--") and name not in named:
            sentence = f"{name[8:].replace('--', '/')} is in the cache and not in the lock."
            findings.append(Finding("cache-other-model", sentence, f"{cache}/{name}"))
    return findings, compared


def default_cache(environment: dict[str, str]) -> Path:
    """Where huggingface_hub keeps its files, by the variables that it reads itself."""
    if found := environment.get("HF_HUB_CACHE") or environment.get("HUGGINGFACE_HUB_CACHE"):
        return Path(found).expanduser()
    if home := environment.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return Path(environment.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "huggingface" / "hub"


def _existing(folder: Path) -> Path:
    try:
        base = folder.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise CannotCheck(f"{folder} cannot be opened: there is no such folder.") from error
    if not base.is_dir():
        raise CannotCheck(f"{folder} is not a folder.")
    return base


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise CannotCheck(f"{folder} cannot be listed: {error.strerror or error}.") from error


def _others(repository: Path, shown: str, model: LockedModel) -> Iterator[Finding]:
    """Commits of a locked model that the lock does not hold: an unpinned load without network would take them."""
    snapshots = repository / "snapshots"
    if snapshots.is_dir():
        for path in _listed(snapshots):
            if path.name != model.revision:
                sentence = f"The cache also holds {model.model_id}@{path.name[:12]}, which is not locked."
                yield Finding("cache-other-revision", sentence, f"{shown}/snapshots/{path.name}")
    refs = repository / "refs"
    if refs.is_dir() and not refs.is_symlink():
        for base, _, names in os.walk(refs):
            for name in sorted(names):
                file = Path(base) / name
                if file.is_symlink() or not file.is_file() or file.stat().st_size > 200:
                    continue
                commit = file.read_text(encoding="utf-8", errors="replace").strip()
                if commit != model.revision:
                    ref = file.relative_to(refs).as_posix()
                    sentence = (
                        f"In the cache, {ref} of {model.model_id} is {commit[:12]}, not the locked commit."
                    )
                    yield Finding("cache-other-revision", sentence, f"{shown}/refs/{ref}")


def _compare(base: Path, shown: str, root: Path, model: LockedModel, partial: bool) -> list[Finding]:
    locked = {file.path: file for file in model.files}
    findings: list[Finding] = []
    seen: set[str] = set()
    for entry in _walk(base, root):
        where = f"{shown}/{entry.path}"
        file = locked.get(entry.path)
        if entry.why:
            findings.append(Finding("file-unsafe", entry.why, where))
            seen.add(entry.path)
        elif file is None:
            if not DOWNLOAD_NOTES.fullmatch(entry.path):
                findings.append(
                    Finding("file-extra", f"{entry.path} is not among the files of {model.short}.", where)
                )
        else:
            seen.add(entry.path)
            if file.quarantined:
                sentence = (
                    f"{entry.path} of {model.short} is in quarantine: opening it can run code. Delete it."
                )
                findings.append(Finding("file-quarantined", sentence, where))
            elif why := _difference(entry.target, file):
                findings.append(Finding("file-changed", f"{entry.path} of {model.short} {why}", where))
    for path, file in locked.items():
        if path not in seen and not file.quarantined:
            rule = "file-absent" if partial else "file-missing"
            hint = "" if partial else " (--partial accepts a copy that holds only some files)"
            findings.append(Finding(rule, f"{path} of {model.short} is not there{hint}.", f"{shown}/{path}"))
    return findings


def _walk(base: Path, root: Path) -> Iterator[Entry]:
    """Everything below `base` that is not a folder, and linked folders, which are never entered."""
    waiting = [base]
    while waiting:
        for path in _listed(waiting.pop()):
            name = path.relative_to(base).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                waiting.append(path)
            elif stat.S_ISREG(mode):
                yield Entry(name, path)
            elif stat.S_ISLNK(mode):
                yield _linked(name, path, root)
            else:
                yield Entry(name, path, f"{name} is not a plain file.")


def _linked(name: str, path: Path, root: Path) -> Entry:
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return Entry(name, path, f"{name} is a link to nothing.")
    if not target.is_relative_to(root):
        return Entry(name, path, f"{name} is a link that leaves {root}.")
    if not stat.S_ISREG(target.lstat().st_mode):
        return Entry(name, path, f"{name} is a link to something that is not a plain file.")
    return Entry(name, target)


def _difference(target: Path, file: LockedFile) -> str:
    """Why the bytes are other ones, or "". Raises CannotCheck when they cannot be read."""
    digest, length = hashlib.sha256(), 0
    try:
        descriptor = os.open(
            target, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        )
        with os.fdopen(descriptor, "rb") as source:
            size = os.fstat(descriptor).st_size
            if size != file.size:
                return f"has {size} bytes, {file.size} were approved."
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                length += len(chunk)
    except OSError as error:
        raise CannotCheck(f"{target} cannot be read: {error.strerror or error}.") from error
    if digest.hexdigest() != file.sha256 or length != file.size:
        return f"has other bytes: sha256 {digest.hexdigest()[:12]}…, approved {file.sha256[:12]}…"
    return ""
