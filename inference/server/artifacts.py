"""Verified files on this machine, by content; snapshots are folders of hard links to them."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Protocol

from inference.server.errors import ArtifactError, ControlRefused, ControlUnavailable
from inference.server.files import fsync_folder
from inference.server.manifest import FileEntry, ServedModel

logger = logging.getLogger(__name__)

# What loading a classifier reads, and nothing that could run: no Python, no pickle, no other framework's
# weights.
# How an embedding is pooled stands one folder down; without it another vector would come out.
POOLING_FILE = "1_Pooling/config.json"
LOADABLE_SUFFIXES = (".json", ".txt", ".model", ".codes", ".safetensors", ".jinja")
_STALE_TEMP_S = 3600
_CHUNK_BYTES = 1024 * 1024


class Source(Protocol):
    """Where missing files come from."""

    def open(
        self, *, team: str, model_id: str, commit_sha: str, path: str
    ) -> AbstractContextManager[Iterator[bytes]]: ...


class ArtifactCache:
    """A folder with blobs/ (by sha256), snapshots/ (built anew for each load) and tmp/.

    Blobs beyond `most_bytes` (0: no limit) are removed, least recently used first, but none that is in use.
    """

    def __init__(self, root: Path, source: Source, *, most_bytes: int = 0) -> None:
        self._blobs, self._snapshots, self._temp = root / "blobs", root / "snapshots", root / "tmp"
        self._source, self._most_bytes = source, most_bytes
        for folder in (self._blobs, self._snapshots, self._temp):
            folder.mkdir(parents=True, exist_ok=True)
        self._sweep()

    def snapshot(self, served: ServedModel) -> Path:
        """A folder with the revision's loadable files, every byte checked against the manifest just now.

        Also what was downloaded long ago is hashed again: a disk flips bits and a cache folder can be
        written to. Raises ArtifactError.
        """
        try:
            entries = loadable_files(served.files)
            blobs = {entry.path: self._verified(served, entry) for entry in entries}
            snapshot = self._link(served, blobs)
        except OSError as exc:
            raise ArtifactError("cache_error", f"The artifact cache failed: {exc.strerror}.") from exc
        self._make_room()
        return snapshot

    def _verified(self, served: ServedModel, entry: FileEntry) -> Path:
        blob = self._blobs / entry.sha256[:2] / entry.sha256
        if blob.is_file():
            os.utime(blob)  # used just now: before it is read, so that no other replica makes room with it
            if blob.stat().st_size == entry.size and _sha256(blob) == entry.sha256:
                return blob
            logger.error("cached_blob_corrupt", extra={"sha256": entry.sha256, "file": entry.path})
            blob.unlink()
        self._download(served, entry, blob)
        return blob

    def _download(self, served: ServedModel, entry: FileEntry, blob: Path) -> None:
        temporary = self._temp / f"{entry.sha256}.{uuid.uuid4().hex}"
        try:
            self._fetch(served, entry, temporary)
            blob.parent.mkdir(exist_ok=True)
            temporary.chmod(0o444)
            temporary.replace(blob)
            fsync_folder(blob.parent)
        except (ControlUnavailable, ControlRefused) as exc:
            raise ArtifactError("artifact_unavailable", f"Cannot get {entry.path}: {exc}.") from exc
        finally:
            with suppress(FileNotFoundError):
                temporary.unlink()

    def _fetch(self, served: ServedModel, entry: FileEntry, target: Path) -> None:
        digest, size = hashlib.sha256(), 0
        with (
            self._source.open(
                team=served.team, model_id=served.model_id, commit_sha=served.commit_sha, path=entry.path
            ) as chunks,
            target.open("xb") as file,
        ):
            for chunk in chunks:
                size += len(chunk)
                # An endless body must not fill the disk before its digest is looked at.
                if size > entry.size:
                    message = f"{entry.path} is longer than the {entry.size} approved bytes."
                    raise ArtifactError("integrity_error", message)
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if size != entry.size or digest.hexdigest() != entry.sha256:
            raise ArtifactError(
                "integrity_error", f"The bytes of {entry.path} are not the approved ones (sha256 differs)."
            )

    def _link(self, served: ServedModel, blobs: dict[str, Path]) -> Path:
        """Build the folder beside and move it in, so that a half-built one is never loaded."""
        building = self._temp / f"snapshot.{uuid.uuid4().hex}"
        building.mkdir()
        try:
            for path, blob in blobs.items():
                target = building / path
                target.parent.mkdir(exist_ok=True)
                try:
                    target.hardlink_to(blob)
                except OSError:
                    # A file system without hard links. A copy is a new reading of the disk, so it is
                    # checked again.
                    shutil.copyfile(blob, target)
                    if _sha256(target) != blob.name:
                        message = f"The copy of {path} is not what was copied."
                        raise ArtifactError("integrity_error", message) from None
            # Two loads of one revision (two replicas, one cache) each get a folder of their own.
            name = f"{served.model_id.replace('/', '--')}--{served.commit_sha}-{uuid.uuid4().hex[:8]}"
            final = self._snapshots / name
            building.replace(final)
            return final
        finally:
            shutil.rmtree(building, ignore_errors=True)

    def discard(self, snapshot: Path) -> None:
        """Forget a snapshot folder whose model is no longer loaded; its blobs stay for a rollback, while
        there is room."""
        shutil.rmtree(snapshot, ignore_errors=True)
        self._make_room()

    def _make_room(self) -> None:
        """Remove the blobs used longest ago until the rest fits.

        In use is what a snapshot links to (a second name of the same file), and what was touched so lately
        that another replica on this cache may be about to link to it.
        """
        if not self._most_bytes:
            return
        found = []
        for path in self._blobs.glob("*/*"):
            with suppress(OSError):
                found.append((path.stat(), path))
        total = sum(known.st_size for known, _ in found)
        fresh = time.time() - _STALE_TEMP_S
        for known, path in sorted(found, key=lambda item: item[0].st_mtime):
            if total <= self._most_bytes:
                return
            if known.st_nlink > 1 or known.st_mtime > fresh:
                continue
            with suppress(OSError):
                path.unlink()
                total -= known.st_size
                logger.info("cached_blob_removed", extra={"sha256": path.name, "bytes": known.st_size})

    def _sweep(self) -> None:
        """Remove what a killed process left behind. A living replica on the same cache needs its files only
        while it loads, which takes minutes."""
        for path in (*self._temp.iterdir(), *self._snapshots.iterdir()):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_TEMP_S:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def loadable_files(files: tuple[FileEntry, ...]) -> list[FileEntry]:
    """The files that loading may read: those in the repository's root with a known, inert kind, and the
    pooling of an embedding model."""
    return [
        entry
        for entry in files
        if entry.path == POOLING_FILE or ("/" not in entry.path and entry.path.endswith(LOADABLE_SUFFIXES))
    ]


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
