"""The store: real commits, LFS pointers, revisions."""

import hashlib
from pathlib import Path

import pytest

from tests.sample_hub.conftest import MODEL_ID, Tiny
from tests.sample_hub.git import GitRepo
from tests.sample_hub.samples import tiny_model
from tests.sample_hub.store import EntryNotFound, RepoNotFound, RevisionNotFound, SampleHubStore, is_lfs


def test_commits_repeat_on_another_root(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_AUTHOR_NAME", "somebody else")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    other = SampleHubStore(tmp_path / "other")
    other.create_repo(MODEL_ID)
    assert other.commit(MODEL_ID, tiny_model(), "Add the model") == tiny.first


def test_commit_is_real_to_git(tiny: Tiny) -> None:
    repo = GitRepo(tiny.store.root / "models" / f"{MODEL_ID}.git")
    repo.run("fsck", "--strict", "--full")
    assert repo.run("log", "--format=%s", "main").decode().split("\n")[:3] == [
        "Add ONNX",
        "Add the model",
        "initial commit",
    ]
    pointer = repo.run("show", "main:model.safetensors").decode()
    sha256 = hashlib.sha256(tiny.files["model.safetensors"]).hexdigest()
    size = len(tiny.files["model.safetensors"])
    assert pointer == f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    assert repo.run("for-each-ref", "refs/scratch/") == b""


def test_read_file_returns_what_was_committed(tiny: Tiny) -> None:
    assert {path: tiny.store.read_file(MODEL_ID, tiny.second, path) for path in tiny.files} == tiny.files
    with pytest.raises(EntryNotFound):
        tiny.store.read_file(MODEL_ID, tiny.first, "onnx/model.onnx")


def test_commit_deletes_and_keeps_the_rest(tiny: Tiny) -> None:
    sha = tiny.store.commit(MODEL_ID, {"README.md": None, "config.json": b"{}"}, "Drop the card")
    left = {entry.path for entry in tiny.store.tree(MODEL_ID, sha) if not entry.is_dir}
    assert left == tiny.files.keys() - {"README.md"} | {".gitattributes"}
    assert tiny.store.read_file(MODEL_ID, sha, "config.json") == b"{}"


def test_commit_beside_the_branch_does_not_move_it(tiny: Tiny) -> None:
    sha = tiny.store.commit(MODEL_ID, {"a": b"a"}, "Aside", branch=None, parent=tiny.first)
    assert tiny.store.resolve(MODEL_ID, "main") == tiny.second
    assert tiny.store.resolve(MODEL_ID, sha) == sha
    assert [c.sha for c in tiny.store.log(MODEL_ID, sha)][1] == tiny.first


def test_resolve_accepts_each_form_of_revision(tiny: Tiny) -> None:
    tiny.store.set_branch(MODEL_ID, "feature/x", tiny.first)
    expected = {
        "main": tiny.second,
        "v1.0": tiny.first,
        "feature/x": tiny.first,
        "refs/pr/1": tiny.first,
        tiny.second: tiny.second,
        tiny.second[:7]: tiny.second,
        tiny.second[:20]: tiny.second,
    }
    assert {name: tiny.store.resolve(MODEL_ID, name) for name in expected} == expected


@pytest.mark.parametrize(
    "revision",
    [
        "HEAD",
        "main~1",
        "main^",
        "main@{0}",
        "main:config.json",
        "--all",
        "",
        "nothing",
        "abc123",
        "a..b",
        "refs/pr/2",
        "refs/heads/main",
        "0" * 40,
        "refs/sample/v1",
    ],
)
def test_resolve_refuses_what_the_hub_refuses(tiny: Tiny, revision: str) -> None:
    with pytest.raises(RevisionNotFound):
        tiny.store.resolve(MODEL_ID, revision)


def test_resolve_refuses_the_id_of_a_file(tiny: Tiny) -> None:
    blob = tiny.store.entry(MODEL_ID, tiny.first, "config.json").oid
    with pytest.raises(RevisionNotFound):
        tiny.store.resolve(MODEL_ID, blob)


@pytest.mark.parametrize("path", ["../escape", "/abs", "a//b", ".git/config", 'quo"te', "new\nline", ""])
def test_commit_refuses_a_path_that_is_none(tiny: Tiny, path: str) -> None:
    with pytest.raises(ValueError, match="Not a path"):
        tiny.store.commit(MODEL_ID, {path: b""}, "Bad path")


def test_unknown_or_malformed_model_is_not_found(tiny: Tiny) -> None:
    for model_id in ("acme/other", "acme", "../acme/tiny", "acme/tiny/x"):
        with pytest.raises(RepoNotFound):
            tiny.store.resolve(model_id, "main")
    with pytest.raises(ValueError, match="org/name"):
        tiny.store.create_repo("noslash")


def test_lfs_rule() -> None:
    assert is_lfs("a.safetensors", b"")
    assert is_lfs("a.bin", b"\xff" * 10240)
    assert is_lfs("a.bin", b"\x00" * 10240)
    assert not is_lfs("a.bin", b"\xff" * 10239)
    assert not is_lfs("vocab.txt", "từ\n".encode() * 10240)


def test_delete_and_create_again_is_another_model(tiny: Tiny) -> None:
    before = tiny.store.meta(MODEL_ID).internal_id
    tiny.store.delete_repo(MODEL_ID)
    assert tiny.store.model_ids() == []
    tiny.store.create_repo(MODEL_ID, internal_id="f" * 24)
    assert tiny.store.meta(MODEL_ID).internal_id == "f" * 24 != before
    with pytest.raises(RevisionNotFound):
        tiny.store.resolve(MODEL_ID, tiny.second)
