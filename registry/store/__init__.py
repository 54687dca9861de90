"""The content-addressed store: a file's name is the SHA-256 of its bytes, so the same bytes are kept once.

Folder layout: `<store>/ab/cd/<sha256>`, mode 0444. Writes go through a temporary file, fsync and rename, so that a crash
leaves either the whole file or nothing. Readers get bytes that were re-hashed, or IntegrityFailure.

With ASSAY_STORE=s3 the bucket (`registry/store_s3.py`) is the store, and this folder holds verified copies of what was used
last: whoever reads a blob gets a local file in both. `registry/store_cache.py` keeps it below its size. docs/store.md.
"""

from registry.store.folder import CHUNK, Stored, path_of, root
from registry.store.reading import check, forget, open_blob, verified, verified_once
from registry.store.snapshots import local_paths, safe_path, snapshot
from registry.store.writing import blobs, delete_older, discard, put, put_rest, renew, set_aside

__all__ = [
    "CHUNK",
    "Stored",
    "blobs",
    "check",
    "delete_older",
    "discard",
    "forget",
    "local_paths",
    "open_blob",
    "path_of",
    "put",
    "put_rest",
    "renew",
    "root",
    "safe_path",
    "set_aside",
    "snapshot",
    "verified",
    "verified_once",
]
