"""Revisions with code, for the tests of code audits: recorded as intake leaves them, never imported."""

from __future__ import annotations

from typing import Any

from registry.models import Revision
from tests.factories import MODEL_ID, SHA_A, World, make_revision

MODEL = b"from .helper import scale\n\nclass Model:\n    pass\n"
HELPER = b"import os\n\nHOME = os.environ.get('HOME')\n\n\ndef scale(x):\n    return x\n"
HELPER_2 = HELPER.replace(b"return x", b"return x * 2")
FILES = {"config.json": b"{}", "modeling_x.py": MODEL, "helper.py": HELPER}
FLAG = {"line": 3, "call": "os.environ", "why": "reads or changes the environment, where secrets are"}


def code_revision(
    world: World, sha: str = SHA_A, *, model_id: str = MODEL_ID, keys: list[str] | None = None, **files: bytes
) -> Revision:
    """`helper__py=b"..."` replaces a file."""
    content = FILES | {name.replace("__", "."): data for name, data in files.items()}
    content |= {"README.md": sha.encode()}
    manifest: list[dict[str, Any]] = [
        {"path": path, "sha256": "", "reachable": True, "flagged": [FLAG] if path == "helper.py" else []}
        for path in sorted(content)
        if path.endswith(".py")
    ]
    facts = {"code": manifest, "config": {"code_keys": keys or []}}
    return make_revision(world.team, sha, model_id=model_id, files=content, remote_code=True, facts=facts)
