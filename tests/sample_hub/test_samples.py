"""build and publish, with a stand-in for the trained variants (training has its own tests)."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.sample_hub.__main__ import main
from tests.sample_hub.code_model import CODE_MODEL_ID
from tests.sample_hub.samples import MODEL_ID, bad_inputs, tiny_model
from tests.sample_hub.store import SampleHubStore

Variants = dict[str, dict[str, bytes]]


@pytest.fixture
def variants(monkeypatch: pytest.MonkeyPatch) -> Variants:
    """What build_variants will return; tests change it in place."""
    made: Variants = {
        "v1": tiny_model() | {"only-in-v1.txt": b"1"},
        "v2": tiny_model() | {"config.json": b'{"model_type": "bert"}'},
        "v3": tiny_model() | {"README.md": b"# Three"},
    }
    stand_in = ModuleType("tests.sample_model.build")
    stand_in.build_variants = lambda cache_dir: made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tests.sample_model.build", stand_in)
    return made


def _run(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    assert main(list(argv)) == 0
    printed = json.loads(capsys.readouterr().out)
    assert isinstance(printed, dict)
    return printed


def test_build_then_publish(tmp_path: Path, capsys: pytest.CaptureFixture[str], variants: Variants) -> None:
    root, cache = str(tmp_path / "hub"), str(tmp_path / "cache")
    printed = _run(capsys, "build", "--root", root, "--cache", cache)
    assert printed["model_id"] == MODEL_ID == "acme/sentiment-vi-en"
    commits = printed["commits"]
    assert isinstance(commits, dict) and list(commits) == ["v1", "v2", "v3"]
    store = SampleHubStore(root)
    assert store.resolve(MODEL_ID, "main") == commits["v1"]
    newest_first = [commit.sha for commit in store.log(MODEL_ID, commits["v3"])]
    assert newest_first[:3] == [commits["v3"], commits["v2"], commits["v1"]]
    for name, sha in commits.items():
        files = {entry.path for entry in store.tree(MODEL_ID, sha) if not entry.is_dir}
        assert files == variants[name].keys() | {".gitattributes"}
    assert store.refs(MODEL_ID, "heads") == {"main": commits["v1"]}
    assert store.refs(MODEL_ID, "tags") == {}

    assert _run(capsys, "publish", "--root", root, "v3")["sha"] == commits["v3"]
    assert store.resolve(MODEL_ID, "main") == commits["v3"]
    # Building again, or elsewhere, gives the same commits and leaves main where it was published.
    assert _run(capsys, "build", "--root", root, "--cache", cache) == printed
    assert store.resolve(MODEL_ID, "main") == commits["v3"]
    assert _run(capsys, "build", "--root", str(tmp_path / "other"), "--cache", cache) == printed


def test_build_with_other_variants_starts_again_at_v1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], variants: Variants
) -> None:
    argv = ("build", "--root", str(tmp_path), "--cache", str(tmp_path))
    before = _run(capsys, *argv)
    variants["v1"]["config.json"] = b'{"model_type": "distilbert"}'
    after = _run(capsys, *argv)
    assert after != before
    assert isinstance(after["commits"], dict)
    assert SampleHubStore(tmp_path).resolve(MODEL_ID, "main") == after["commits"]["v1"]


def test_bad_inputs_lack_what_their_name_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], variants: Variants
) -> None:
    _run(capsys, "build", "--root", str(tmp_path), "--cache", str(tmp_path))
    store = SampleHubStore(tmp_path)
    assert store.model_ids() == sorted([MODEL_ID, CODE_MODEL_ID, *bad_inputs()])
    whole = set(tiny_model())
    lacking = {
        "acme/no-config": {"config.json"},
        "acme/no-tokenizer": {"tokenizer.json", "tokenizer_config.json"},
        "acme/no-safetensors": {"model.safetensors"},
        "acme/no-card-yaml": set(),
        "acme/no-card": {"README.md"},
    }
    for model_id, missing in lacking.items():
        files = {e.path: e for e in store.tree(model_id, store.resolve(model_id, "main")) if not e.is_dir}
        assert whole - files.keys() == missing
    weights = bad_inputs()["acme/no-safetensors"]["pytorch_model.bin"]
    assert weights[0] == 0 and len(weights) == 16384  # no pickle and no zip begins with a zero byte
    assert not bad_inputs()["acme/no-card-yaml"]["README.md"].startswith(b"---")


def test_tiny_safetensors_is_valid(tmp_path: Path) -> None:
    safe_open = pytest.importorskip("safetensors").safe_open
    path = tmp_path / "model.safetensors"
    path.write_bytes(tiny_model()["model.safetensors"])
    with safe_open(path, framework="np") as weights:
        assert weights.get_tensor("classifier.weight").tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_publish_before_build_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "--root", str(tmp_path), "v2"]) == 1
    assert "Nothing to publish" in capsys.readouterr().err
