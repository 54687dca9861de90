"""What the tests of the Hub endpoint stand on: a model with two revisions, spoilt files, and clients as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry import store
from registry.models import Approval, Revision
from registry.services.channels import move_channel
from tests.factories import SHA_A, SHA_B, SHA_C, World, make_approval, make_revision

FILES = {
    "README.md": b"---\nlicense: apache-2.0\n---\n# A model\n",
    "config.json": b'{"model_type": "distilbert", "architectures": ["DistilBertForSequenceClassification"]}',
    "model.safetensors": bytes(range(256)) * 64,
    "onnx/model.onnx": b"onnx",
    "onnx/deep/notes.txt": b"notes",
    "evil.bin": b"\x80\x04pickle",
    "page.html": b"<script>alert(1)</script>",
}
QUARANTINED = {"formats": {"quarantined": ["evil.bin"]}}


@dataclass(frozen=True)
class Scene:
    """`approved` is in production; `pending` is newer and approved by nobody."""

    world: World
    approved: Revision
    approval: Approval
    pending: Revision


def set_scene(world: World, files: dict[str, bytes], newer: dict[str, bytes], **facts: Any) -> Scene:
    approved = make_revision(world.team, SHA_A, files=files, facts=facts)
    pending = make_revision(world.team, SHA_B, files=newer)
    approval = make_approval(world, approved)
    move_channel(
        actor=world.release_manager,
        model=approved.model,
        name="production",
        approval=approval,
        reason="First release",
    )
    return Scene(world, approved, approval, pending)


def approve_large_file(scene: Scene) -> bytes:
    """SHA_C, approved, holds `large.safetensors` of 24 MiB: longer than what clients keep of a broken download."""
    content = os.urandom(24 * 2**20)
    revision = make_revision(scene.world.team, SHA_C, files={"large.safetensors": content})
    make_approval(scene.world, revision, environment="staging")
    return content


def spoil(revision: Revision, path: str, change: Callable[[Path], object]) -> str:
    """Changes a stored file behind the registry's back; returns its digest."""
    sha256 = revision.files.get(path=path).blob_id
    place = store.path_of(sha256)
    place.parent.chmod(0o755)
    place.chmod(0o644)
    change(place)
    return sha256


@dataclass
class HubClient:
    """Runs scripts in processes of their own, which know our address and a token and nothing else."""

    endpoint: str
    token: str
    home: Path
    python: str = sys.executable
    more: dict[str, str] = field(default_factory=dict)

    def environment(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        own = {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self.home),
            "HOME": str(self.home),
            "NO_COLOR": "1",
        }
        return {**kept, **own, **({"HF_TOKEN": self.token} if self.token else {}), **self.more}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            env=self.environment(),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def python_says(self, script: str) -> str:
        """stdout of a script that must end well."""
        found = self.run(self.python, "-c", script)
        assert found.returncode == 0, found.stderr
        return found.stdout

    def python_fails(self, script: str) -> str:
        """Everything that a person reads in the terminal when a script fails."""
        found = self.run(self.python, "-c", script)
        assert found.returncode != 0, found.stdout
        return found.stdout + found.stderr

    def hf(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.command("hf", *words)

    def command(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A command that the client's package installs beside its Python."""
        return self.run(str(Path(self.python).with_name(name)), *words)
