"""Every hostile repository ends with a finding of its own, and none of them ever runs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.inspecting import environment
from registry.inspection.documents import BadDocument
from registry.inspection.run import inspect_revision
from tests.inspection.corpus import Case, cases
from tests.sample_hub.samples import tiny_model

CANARY = Path(tempfile.gettempdir()) / f"assay-canary-{os.getpid()}"
CASES = cases(CANARY)
Order = Callable[..., dict[str, Any]]


@pytest.fixture
def order(tmp_path: Path) -> Order:
    """`order(files, model_id)`: the tiny repository with these changes, as the child gets it."""

    def build(changed: dict[str, bytes | None], model_id: str = "acme/sentiment") -> dict[str, Any]:
        whole = {path: data for path, data in {**tiny_model(), **changed}.items() if data is not None}
        files = {}
        for path, data in whole.items():
            digest = hashlib.sha256(data).hexdigest()
            (tmp_path / digest).write_bytes(data)
            files[path] = {"blob_path": str(tmp_path / digest), "size": len(data), "sha256": digest}
        return {"model_id": model_id, "files": files, "approved_labels": None}

    return build


@pytest.fixture(autouse=True)
def no_canary() -> None:
    CANARY.unlink(missing_ok=True)


def test_corpus_is_large_and_its_names_are_unique() -> None:
    assert len(CASES) >= 40
    assert len({case.name for case in CASES}) == len(CASES)


def test_an_honest_repository_has_nothing_above_info(order: Order) -> None:
    result = inspect_revision(order({}))
    assert [f for f in result["findings"] if f["severity"] != "info"] == []
    assert result["remote_code_sha256"] is None
    assert result["facts"]["formats"]["quarantined"] == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hostile_repository_is_seen(case: Case, order: Order) -> None:
    try:
        result = inspect_revision(order(case.files, case.model_id))
    except BadDocument as refusal:
        assert case.severity == "refused", refusal.message
        assert case.words in refusal.message
        assert not CANARY.exists()
        return
    said = [(f["severity"], f["message"]) for f in result["findings"]]
    assert any(severity == case.severity and case.words in message for severity, message in said), said
    assert {severity for severity, _ in said} & {"warn", "fail"}  # nothing hostile ends as a pass
    if case.quarantined:
        assert case.quarantined in result["facts"]["formats"]["quarantined"]
    assert not CANARY.exists(), "a hostile file was executed"


def test_the_canary_would_sing() -> None:
    """The corpus is loaded: its first case does leave a mark when a pickle is opened by somebody careless."""
    first = next(case for case in CASES if case.name == "pickle_protocol_4")
    data = first.files["extra.pkl"]
    assert data is not None
    subprocess.run(
        ["python3", "-c", "import pickle, sys; pickle.load(sys.stdin.buffer)"],
        input=data, env=environment(), check=True, timeout=30,
    )  # fmt: skip
    assert CANARY.exists()
    CANARY.unlink()
