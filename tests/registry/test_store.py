"""The content-addressed store: whole files or none, verified when read, safe names only."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator

import pytest
from pytest_django import Settings

from registry import store
from registry.exceptions import IntegrityFailure, InvalidInput
from registry.hub import check_model_id, check_revision, parse_reference
from tests.factories import git_oid

DATA = b"weights" * 1000


def put(data: bytes = DATA) -> store.Stored:
    return store.put([data[:100], data[100:]], size=len(data))


def left_over() -> list[str]:
    return [p.name for p in store.root().rglob("*") if p.is_file()]


def test_file_is_named_by_its_bytes_and_cannot_be_written(settings: Settings) -> None:
    stored = put()
    assert stored == store.Stored(hashlib.sha256(DATA).hexdigest(), len(DATA), git_oid(DATA))
    path = store.path_of(stored.sha256)
    assert path.read_bytes() == DATA and path.stat().st_mode & 0o777 == 0o444
    assert put() == stored and left_over() == [stored.sha256]


def test_empty_file_is_a_file() -> None:
    stored = put(b"")
    with store.verified(stored.sha256, 0) as file:
        assert file.read() == b""


@pytest.mark.parametrize(
    ("size", "code"), [(len(DATA) - 1, "longer_than_declared"), (len(DATA) + 1, "shorter_than_declared")]
)
def test_stream_of_another_length_leaves_nothing(size: int, code: str) -> None:
    with pytest.raises(IntegrityFailure) as refusal:
        store.put([DATA], size=size)
    assert refusal.value.code == code and left_over() == []


def test_endless_stream_is_stopped_at_its_declared_length() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            yield b"x" * 1000

    with pytest.raises(IntegrityFailure):
        store.put(endless(), size=2500)
    assert taken == 3 and left_over() == []


def test_stream_that_breaks_leaves_nothing() -> None:
    def broken() -> Iterator[bytes]:
        yield DATA
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        store.put(broken(), size=2 * len(DATA))
    assert left_over() == []


def test_changed_bytes_are_never_opened() -> None:
    stored = put()
    path = store.path_of(stored.sha256)
    path.chmod(0o644)
    path.write_bytes(DATA[:-1] + b"?")
    with pytest.raises(IntegrityFailure, match="does not have the bytes that were approved"):
        store.verified(stored.sha256, stored.size)


@pytest.mark.parametrize("name", ["", "a" * 63, "A" * 64, "../" + "a" * 61, "a" * 65, "g" * 64])
def test_what_is_no_digest_names_no_file(name: str) -> None:
    with pytest.raises(ValueError, match="not a sha256"):
        store.path_of(name)


@pytest.mark.parametrize(
    "path", ["config.json", "onnx/model.onnx", "a/b/c.txt", "tên tệp.txt", ".gitattributes", "a..b"]
)
def test_ordinary_path_is_safe(path: str) -> None:
    assert store.safe_path(path) == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a//b",
        "./a",
        "a/.",
        "a\\b",
        "C:/x",
        "a\x00b",
        "a\nb",
        "a/ ",
        "a.",
        "x" * 501,
    ],
)
def test_path_that_could_leave_its_folder_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        store.safe_path(path)
    assert refusal.value.code == "unsafe_path"


def test_snapshot_is_a_folder_of_verified_copies_and_goes_away() -> None:
    stored = put()
    with store.snapshot(
        [("config.json", stored.sha256, stored.size), ("a/b.bin", stored.sha256, stored.size)]
    ) as folder:
        assert (folder / "a/b.bin").read_bytes() == DATA
        (folder / "config.json").write_bytes(b"scribbled on")  # a copy: the store does not change with it
    assert not folder.exists()
    with store.verified(stored.sha256, stored.size) as file:
        assert file.read() == DATA


def test_what_killed_workers_left_is_cleared_after_a_while() -> None:
    stored = put()
    for name, age_s in (("old", 86_400), ("young", 60)):
        folder = store.root() / "snapshots" / name
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "model.safetensors").write_bytes(DATA)
        os.utime(folder, (time.time() - age_s,) * 2)
    with store.snapshot([("x", stored.sha256, stored.size)]):
        assert not (store.root() / "snapshots" / "old").exists()
        assert (store.root() / "snapshots" / "young").exists()


# --- names, before anybody is asked ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("acme/x", ("acme/x", "")),
        ("  acme/x\n", ("acme/x", "")),
        ("https://huggingface.co/acme/x", ("acme/x", "")),
        ("https://huggingface.co/acme/x/", ("acme/x", "")),
        ("huggingface.co/acme/x", ("acme/x", "")),
        ("https://huggingface.co/acme/x/tree/main", ("acme/x", "main")),
        ("https://hub.example.com/acme/x/commit/" + "a" * 40, ("acme/x", "a" * 40)),
        ("https://huggingface.co/acme/x/blob/v1.0/README.md", ("acme/x", "v1.0")),
        ("https://huggingface.co/acme/x/tree/refs%2Fpr%2F7", ("acme/x", "refs/pr/7")),
    ],
)
def test_what_people_paste_is_understood(typed: str, expected: tuple[str, str]) -> None:
    assert parse_reference(typed) == expected


@pytest.mark.parametrize("model_id", ["a/b", "acme/sentiment-vi-en", "A1/B_2.c-3", "a" * 96 + "/" + "b" * 96])
def test_good_model_id_is_kept(model_id: str) -> None:
    assert check_model_id(model_id) == model_id


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("", "main"),
        (" main ", "main"),
        ("refs/pr/1", "refs/pr/1"),
        ("a" * 40, "a" * 40),
        ("ABCDEF1", "ABCDEF1"),
    ],
)
def test_good_revision_is_kept(typed: str, kept: str) -> None:
    assert check_revision(typed) == kept
