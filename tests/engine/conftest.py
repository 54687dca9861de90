"""The tiny model, built once for a test session, and a copy for tests that spoil it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from inference.engine import TextClassifier
from tests.engine.tiny import build_tiny, tiny_config


@pytest.fixture(scope="session")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def spoiled(snapshot: Path, tmp_path: Path) -> Path:
    """A copy of the snapshot that a test may damage."""
    return Path(shutil.copytree(snapshot, tmp_path / "spoiled"))


@pytest.fixture(scope="session")
def classifier(snapshot: Path) -> TextClassifier:
    loaded = TextClassifier(tiny_config(snapshot))
    loaded.warm_up()
    return loaded
