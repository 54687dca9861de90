"""Local copies: every changed byte, every file too many or too few, and no way out of the folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cli.folders import default_cache
from tests.cli.locks import FILES, MODEL_ID, OTHER_SHA, SHA, Desk, entry, signed


def test_good_snapshot_is_ok(desk: Desk) -> None:
    code, rules, answer = desk.with_lock("--snapshot", desk.snapshot())
    assert (code, rules, answer["problems"]) == (0, [], [])


@pytest.mark.parametrize("path", sorted(FILES))
def test_each_changed_byte_is_found(desk: Desk, path: str) -> None:
    base = desk.snapshot()
    content = FILES[path]
    for position in {0, 1, len(content) // 2, len(content) - 1}:
        spoilt = bytearray(content)
        spoilt[position] ^= 1
        (base / path).write_bytes(spoilt)
        assert desk.with_lock("--snapshot", base)[:2] == (1, ["file-changed"]), position


@pytest.mark.parametrize("content", [b"", FILES["config.json"] + b"\n", FILES["config.json"][:-1]])
def test_changed_length_is_found(desk: Desk, content: bytes) -> None:
    base = desk.snapshot()
    (base / "config.json").write_bytes(content)
    assert desk.with_lock("--snapshot", base)[:2] == (1, ["file-changed"])


@pytest.mark.parametrize(
    "path", ["modeling_x.py", "onnx/extra.bin", "deep/er/file", ".hidden", ".cache/huggingface/code.py"]
)
def test_extra_file_is_found(desk: Desk, path: str) -> None:
    base = desk.snapshot()
    (base / path).parent.mkdir(parents=True, exist_ok=True)
    (base / path).write_bytes(b"")
    assert desk.with_lock("--snapshot", base)[:2] == (1, ["file-extra"])


def test_notes_of_snapshot_download_are_not_extra(desk: Desk) -> None:
    base = desk.snapshot()
    notes = base / ".cache" / "huggingface"
    (notes / "download" / "onnx").mkdir(parents=True)
    (notes / "trees").mkdir()
    for name in (
        ".gitignore",
        "CACHEDIR.TAG",
        "download/config.json.metadata",
        "download/onnx/model.json.lock",
    ):
        (notes / name).write_bytes(b"")
    assert desk.with_lock("--snapshot", base)[:2] == (0, [])


@pytest.mark.parametrize("path", sorted(FILES))
def test_missing_file_is_found_and_partial_only_notes_it(desk: Desk, path: str) -> None:
    base = desk.snapshot()
    (base / path).unlink()
    assert desk.with_lock("--snapshot", base)[:2] == (1, ["file-missing"])
    assert desk.with_lock("--snapshot", base, "--partial")[:2] == (0, ["file-absent"])


def test_partial_still_finds_changed_and_extra_files(desk: Desk) -> None:
    base = desk.snapshot()
    (base / "config.json").write_bytes(b"{}")
    (base / "x").write_bytes(b"")
    assert desk.with_lock("--snapshot", base, "--partial")[:2] == (1, ["file-changed", "file-extra"])


def test_renamed_and_swapped_files_are_found(desk: Desk) -> None:
    base = desk.snapshot()
    (base / "config.json").rename(base / "Config.json")
    code, rules, _ = desk.with_lock("--snapshot", base)
    assert (code, sorted(rules)) == (1, ["file-extra", "file-missing"])
    (base / "Config.json").rename(base / "config.json")
    one, two = (base / "config.json").read_bytes(), (base / "tokenizer.json").read_bytes()
    (base / "config.json").write_bytes(two)
    (base / "tokenizer.json").write_bytes(one)
    assert desk.with_lock("--snapshot", base)[:2] == (1, ["file-changed", "file-changed"])


def test_link_out_of_the_folder_is_found_even_with_the_right_bytes(desk: Desk) -> None:
    base = desk.snapshot()
    outside = desk.folder / "outside.json"
    outside.write_bytes(FILES["config.json"])
    (base / "config.json").unlink()
    (base / "config.json").symlink_to(outside)
    assert desk.with_lock("--snapshot", base)[:2] == (1, ["file-unsafe"])


def test_linked_folder_dead_link_loop_and_pipe_are_found(desk: Desk) -> None:
    base = desk.snapshot()
    (desk.folder / "elsewhere").mkdir()
    (base / "folder").symlink_to(desk.folder / "elsewhere")
    (base / "inner").symlink_to(base / "onnx")
    (base / "dead").symlink_to(base / "nothing")
    (base / "loop").symlink_to(base / "loop")
    os.mkfifo(base / "pipe")
    code, rules, _ = desk.with_lock("--snapshot", base)
    assert (code, rules) == (1, ["file-unsafe"] * 5)


def test_link_inside_the_folder_is_compared_by_its_bytes(desk: Desk) -> None:
    base = desk.snapshot()
    (base / "config.json").unlink()
    (base / "config.json").symlink_to("tokenizer.json")
    assert desk.with_lock("--snapshot", base)[:2] == (1, ["file-changed"])


def test_quarantined_file_must_not_be_there(desk: Desk) -> None:
    desk.write(signed(entry(files={**FILES, "model.bin": b"\x80\x04"}, quarantined=("model.bin",))))
    base = desk.snapshot()
    assert desk.with_lock("--snapshot", base)[:2] == (0, [])
    (base / "model.bin").write_bytes(b"\x80\x04")
    assert desk.with_lock("--snapshot", base)[:2] == (1, ["file-quarantined"])


def test_snapshot_of_several_models_is_named(desk: Desk) -> None:
    desk.write(signed(entry(), entry("acme/another", files={"a": b"1"})))
    base = desk.snapshot()
    assert desk.with_lock("--snapshot", base)[0] == 2
    assert desk.with_lock("--snapshot", f"acme/sentiment-vi-en={base}")[:2] == (0, [])
    assert desk.with_lock("--snapshot", f"acme/another={base}")[0] == 1


@pytest.mark.parametrize("name", ["nowhere", "key.pem"])
def test_folder_that_is_none_cannot_be_checked(desk: Desk, name: str) -> None:
    assert desk.with_lock("--snapshot", desk.folder / name)[:2] == (2, [])
    assert desk.with_lock("--hf-cache", desk.folder / name)[:2] == (2, [])


# --- the Hugging Face cache --------------------------------------------------------------------------------------------


def repository(cache: Path) -> Path:
    return cache / "models--acme--sentiment-vi-en"


def test_good_cache_is_ok(desk: Desk) -> None:
    code, rules, answer = desk.with_lock("--hf-cache", desk.cache())
    assert (code, rules) == (0, [])
    assert answer["checked"][-1].endswith(": 1 locked snapshot")


def test_snapshot_of_a_cache_may_link_into_its_blobs(desk: Desk) -> None:
    base = repository(desk.cache()) / "snapshots" / SHA
    assert desk.with_lock("--snapshot", base)[:2] == (0, [])


def test_each_changed_blob_is_found(desk: Desk) -> None:
    cache = desk.cache()
    for blob in sorted((repository(cache) / "blobs").iterdir()):
        content = blob.read_bytes()
        blob.write_bytes(content[:-1] + bytes([content[-1] ^ 128]))
        assert desk.with_lock("--hf-cache", cache)[:2] == (1, ["file-changed"])
        blob.write_bytes(content)


def test_link_out_of_the_cache_is_found(desk: Desk) -> None:
    cache = desk.cache()
    outside = desk.folder / "outside"
    outside.write_bytes(FILES["config.json"])
    link = repository(cache) / "snapshots" / SHA / "config.json"
    link.unlink()
    link.symlink_to(outside)
    assert desk.with_lock("--hf-cache", cache)[:2] == (1, ["file-unsafe"])


def test_linked_repository_or_snapshot_is_found(desk: Desk) -> None:
    cache = desk.cache()
    snapshots = repository(cache) / "snapshots"
    (snapshots / SHA).rename(snapshots / "real")
    (snapshots / SHA).symlink_to("real")
    assert "file-unsafe" in desk.with_lock("--hf-cache", cache)[1]
    repository(cache).rename(desk.folder / "moved")
    repository(cache).symlink_to(desk.folder / "moved")
    assert desk.with_lock("--hf-cache", cache)[:2] == (1, ["file-unsafe"])


def test_locked_commit_that_is_not_cached_is_found(desk: Desk) -> None:
    cache = desk.cache()
    (repository(cache) / "snapshots" / SHA).rename(repository(cache) / "snapshots" / OTHER_SHA)
    code, rules, _ = desk.with_lock("--hf-cache", cache)
    assert (code, rules) == (1, ["cache-missing", "cache-other-revision"])


def test_other_commits_and_models_in_the_cache_are_said(desk: Desk) -> None:
    cache = desk.cache()
    (repository(cache) / "snapshots" / OTHER_SHA).mkdir()
    (repository(cache) / "refs" / "main").write_text(OTHER_SHA)
    (cache / "models--acme--other" / "snapshots").mkdir(parents=True)
    code, rules, _ = desk.with_lock("--hf-cache", cache)
    assert (code, rules) == (0, ["cache-other-revision", "cache-other-revision", "cache-other-model"])
    assert desk.with_lock("--hf-cache", cache, "--strict")[0] == 1


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_HUB_CACHE": "/a/hub", "HF_HOME": "/b"}, "/a/hub"),
        ({"HF_HOME": "/b"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({}, str(Path("~/.cache/huggingface/hub").expanduser())),
    ],
)
def test_default_cache_is_the_one_of_huggingface_hub(environment: dict[str, str], expected: str) -> None:
    assert str(default_cache(environment)) == expected


def test_cache_without_a_folder_is_the_default_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(desk.cache()))
    assert desk.with_lock("--hf-cache")[:2] == (0, [])


@pytest.mark.service
def test_cache_that_huggingface_hub_wrote_is_ok_and_a_later_change_is_found(
    desk: Desk, tmp_path: Path
) -> None:
    """Our idea of the layout is its idea: the client itself fills the cache and the folder."""
    from huggingface_hub import snapshot_download

    from tests.sample_hub.running import running_hub
    from tests.sample_hub.store import SampleHubStore

    hub = SampleHubStore(tmp_path / "sample-hub")
    hub.create_repo(MODEL_ID)
    files = {**FILES, ".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"}
    sha = hub.commit(MODEL_ID, dict(files), "first")
    desk.write(signed(entry(revision=sha, files=files)))
    cache, folder = tmp_path / "cache", tmp_path / "copy"
    with running_hub(tmp_path / "sample-hub") as url:
        snapshot_download(MODEL_ID, revision=sha, endpoint=url, cache_dir=cache)
        snapshot_download(MODEL_ID, revision=sha, endpoint=url, local_dir=folder)
    assert (repository(cache) / "snapshots" / sha / "config.json").is_symlink()
    assert desk.with_lock("--hf-cache", cache, "--snapshot", folder)[2]["findings"] == []
    spoilt = repository(cache) / "snapshots" / sha / "model.safetensors"
    blob = spoilt.resolve()
    blob.chmod(0o644)
    blob.write_bytes(b"x" + FILES["model.safetensors"][1:])
    assert desk.with_lock("--hf-cache", cache, "--snapshot", folder)[:2] == (1, ["file-changed"])
