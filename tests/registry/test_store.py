"""The content-addressed store: whole files or none, verified when read, safe names only."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


# --- what a killed worker left -----------------------------------------------------------------------------------------

DIGEST = hashlib.sha256(DATA).hexdigest()


class Source:
    """Where a file is fetched from, and from which byte on it was asked for."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data, self.asked = data, list[int]()

    def __call__(self, start: int) -> Iterator[bytes]:
        self.asked.append(start)
        yield self.data[start:-1]
        yield self.data[-1:]

    def put(self) -> store.Stored:
        return store.put_rest(self, size=len(DATA), sha256=DIGEST)


def left(data: bytes) -> None:
    """What a worker had when it was killed."""
    folder = store.root() / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{DIGEST}.part").write_bytes(data)


def test_worker_that_is_killed_leaves_what_it_had() -> None:
    large = os.urandom(1_000_000)
    told: dict[str, Any] = {"size": len(large), "sha256": hashlib.sha256(large).hexdigest()}
    asked = []

    def fetch(start: int) -> Iterator[bytes]:
        yield large[:600_000]
        os.kill(os.getpid(), signal.SIGKILL)

    def rest(start: int) -> Iterator[bytes]:
        asked.append(start)
        yield large[start:]

    child = os.fork()
    if child == 0:
        store.put_rest(fetch, **told)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert store.put_rest(rest, **told).sha256 == told["sha256"]
    assert 300_000 < asked[0] <= 600_000 and left_over() == [told["sha256"]]


@pytest.mark.parametrize("had", [0, 3000, len(DATA)])
def test_what_was_left_is_continued(had: int) -> None:
    left(DATA[:had])
    source = Source()
    assert source.put() == put() and source.asked == ([had] if had < len(DATA) else [])
    assert left_over() == [DIGEST] and store.path_of(DIGEST).read_bytes() == DATA
    assert store.path_of(DIGEST).stat().st_mode & 0o777 == 0o444


def test_what_was_left_wrong_is_thrown_away_and_fetched_anew() -> None:
    left(b"?" + DATA[1:3000])
    source = Source()
    assert source.put().sha256 == DIGEST and source.asked == [3000, 0]
    assert left_over() == [DIGEST] and store.path_of(DIGEST).read_bytes() == DATA


def test_wrong_bytes_are_fetched_anew_once_and_only_once() -> None:
    left(DATA[:3000])
    source = Source(DATA[:-1] + b"?")
    stored = source.put()
    assert source.asked == [3000, 0] and stored.sha256 != DIGEST and left_over() == [stored.sha256]
    again = Source(DATA[:-1] + b"?")  # nothing was left: the second time would not be another
    assert again.put() == stored and again.asked == [0]


def test_what_was_left_longer_than_the_file_is_thrown_away() -> None:
    left(DATA + b"?")
    source = Source()
    assert source.put().sha256 == DIGEST and source.asked == [0]


def test_two_that_fetch_the_same_file_at_once_do_not_meet() -> None:
    left(DATA[:3000])
    second = Source()

    def slow(start: int) -> Iterator[bytes]:
        yield DATA[start:5000]
        second.put()
        yield DATA[5000:]

    assert store.put_rest(slow, size=len(DATA), sha256=DIGEST).sha256 == DIGEST
    assert second.asked == [0] and left_over() == [DIGEST] and store.path_of(DIGEST).read_bytes() == DATA


def test_worker_that_is_not_killed_leaves_nothing() -> None:
    left(DATA[:3000])

    def broken(start: int) -> Iterator[bytes]:
        yield DATA[start : start + 1000]
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError):
        store.put_rest(broken, size=len(DATA), sha256=DIGEST)
    assert left_over() == []


def test_link_in_the_place_of_what_was_left_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_bytes(b"mine")
    folder = store.root() / "tmp"
    folder.mkdir(parents=True)
    (folder / f"{DIGEST}.part").symlink_to(tmp_path / "mine")
    source = Source()
    assert source.put().sha256 == DIGEST and source.asked == [0]
    assert (tmp_path / "mine").read_bytes() == b"mine"


def test_declared_digest_that_is_none_names_no_file() -> None:
    stored = store.put_rest(Source(), size=len(DATA), sha256="../../outside")
    assert stored.sha256 == DIGEST and left_over() == [DIGEST]


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
