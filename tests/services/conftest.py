"""Files of a real (tiny) model, built once in a process of its own: this one never imports torch."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("tiny") / "model"
    code = "import sys; from pathlib import Path; from tests.engine.tiny import build_tiny; build_tiny(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(folder)], check=True, timeout=120, capture_output=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}
