"""Our inference server for the benchmarks: the real process, with a small control plane that names one local model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.models import build
from tests.server.control_plane import SERVICE_TOKEN, TOKEN, FakeControlPlane
from tests.server.running import running

MODEL_ID = "bench/distil"
MODELS = Path(__file__).resolve().parent.parent / "var" / "bench"
VARIANTS: dict[str, dict[str, str]] = {
    "ours-fp32": {},
    "ours-fp32-latency": {"ASSAY_SERVER_CPU_LAYOUT": "latency"},
    "ours-fp32-throughput": {"ASSAY_SERVER_CPU_LAYOUT": "throughput"},
    "ours-bf16": {"ASSAY_SERVER_PRECISION": "bf16"},
}

__all__ = ["MODEL_ID", "TOKEN", "VARIANTS", "control_plane", "distil", "environment"]


def distil() -> Path:
    """The folder of the model that every server is measured on; made once."""
    return build(MODELS, "distil")


@contextmanager
def control_plane(folder: Path | None = None, max_length: int = 128) -> Iterator[str]:
    """The address of a control plane that serves the model of `folder` (by default `distil`) on production."""
    control = FakeControlPlane()
    control.add_revision(
        "v1", {f.name: f.read_bytes() for f in (folder or distil()).iterdir() if f.is_file()}, MODEL_ID
    )
    control.serve(control.line("v1", model_id=MODEL_ID, max_length=max_length))
    with running(control.app) as url:
        yield url


def environment(control: str, cache: Path, more: dict[str, str]) -> dict[str, str]:
    """Limits stand at their defaults but the caller's quota: one token makes all the load."""
    return {
        "ASSAY_CONTROL_URL": control,
        "ASSAY_SERVER_TOKEN": SERVICE_TOKEN,
        "ASSAY_SERVER_CACHE": str(cache),
        "ASSAY_SERVER_REQUESTS_PER_S": "0",
        "ASSAY_SERVER_MAX_QUEUED_INPUTS": "512",
        **more,
    }


def digest(folder: Path) -> str:
    """One digest over a folder's files, to say in a result which model was measured."""
    whole = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        whole.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()[:16]
