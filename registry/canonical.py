"""Canonical JSON and digests: the same content always gives the same bytes."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def canonical_json(value: Any) -> str:
    """JSON text with sorted keys and no spaces. Raises ValueError for NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_text(text: str) -> str:
    """SHA-256 of the UTF-8 bytes, hex."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON, hex."""
    return sha256_text(canonical_json(value))


def manifest_sha256(files: list[tuple[str, int, str]]) -> str:
    """Digest of a revision: the sorted list of (path, size in bytes, sha256 hex)."""
    return sha256_json(sorted([path, size, digest] for path, size, digest in files))
