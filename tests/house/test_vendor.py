"""What we ship of others: named, licensed, and byte for byte what its digest says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

STATIC = Path(__file__).resolve().parents[2] / "static"


def test_vendored_files_are_what_their_digests_say() -> None:
    listed = json.loads((STATIC / "vendor" / "VENDOR.json").read_text(encoding="utf-8"))
    text = json.dumps(listed)
    for path in sorted((STATIC / "vendor").rglob("*")):
        if path.is_file() and path.name not in ("VENDOR.json", "LICENSE"):
            assert hashlib.sha256(path.read_bytes()).hexdigest() in text, path.name
            assert (path.parent / "LICENSE").exists(), path.name


def test_no_page_or_style_asks_another_server() -> None:
    for path in [*STATIC.rglob("*.css"), *STATIC.rglob("*.js")]:
        text = path.read_text(encoding="utf-8")
        assert "@import" not in text, path.name
        assert "url(http" not in text and 'src="http' not in text and 'fetch("http' not in text, path.name
