"""Parts of the server that are quicker to prove without HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from inference.engine import ClassifierConfig, ModelLoadError
from inference.engine.dummy import DummyBackend
from inference.server.artifacts import ArtifactCache, loadable_files
from inference.server.body import _plain, parse_json
from inference.server.errors import ApiError, ArtifactError, ManifestError
from inference.server.files import read_json, write_json
from inference.server.fleet import Fleet
from inference.server.loading import ModelLoader
from inference.server.logs import JsonLines, TextHasher
from inference.server.manifest import FileEntry, ServedModel, parse_manifest
from inference.server.quota import Quotas
from inference.server.settings import NUMBERS, Limits, ServerSettings, SettingsError, read_settings

LINE: dict[str, Any] = {
    "team": "search",
    "model_id": "acme/sentiment",
    "channel": "production",
    "commit_sha": "1" * 40,
    "manifest_sha256": "a" * 64,
    "task": "text-classification",
    "max_length": 128,
    "files": [{"path": "config.json", "size": 2, "sha256": "b" * 64}],
}


def file_line(**change: Any) -> dict[str, Any]:
    return LINE | {"files": [LINE["files"][0] | change]}


def test_manifest_of_the_contract_is_read() -> None:
    manifest = parse_manifest({"generation": "g1", "models": [LINE, LINE | {"channel": "staging"}]})
    assert [model.slot.channel for model in manifest.models] == ["production", "staging"]
    assert manifest.models[0].key == manifest.models[1].key
    assert manifest.blocked == frozenset()


@pytest.mark.parametrize(
    "line",
    [
        LINE | {"commit_sha": "main"},
        LINE | {"commit_sha": "1" * 39 + "G"},
        LINE | {"model_id": "acme"},
        LINE | {"model_id": "../etc"},
        LINE | {"model_id": "acme/.."},
        LINE | {"channel": "a@b"},
        LINE | {"team": ""},
        LINE | {"max_length": True},
        LINE | {"max_length": 0},
        LINE | {"manifest_sha256": "a"},
        LINE | {"files": {}},
        LINE | {"files": [LINE["files"][0]] * 2},
        file_line(path="/etc/passwd"),
        file_line(path="../config.json"),
        file_line(path="a/../../config.json"),
        file_line(path="a//b"),
        file_line(path="a\\b"),
        file_line(path="a\x00b"),
        file_line(path=""),
        file_line(size=-1),
        file_line(size="2"),
        file_line(sha256="B" * 64),
        "line",
    ],
)
def test_manifest_with_a_wrong_line_is_refused_whole(line: Any) -> None:
    with pytest.raises(ManifestError):
        parse_manifest({"generation": "g", "models": [LINE | {"channel": "other"}, line]})


def test_manifest_with_a_repeated_slot_is_refused() -> None:
    with pytest.raises(ManifestError, match="twice"):
        parse_manifest({"generation": "g", "models": [LINE, LINE]})


def test_only_inert_files_of_the_root_are_loadable() -> None:
    names = [
        "config.json",
        "tokenizer.json",
        "vocab.txt",
        "model.safetensors",
        "model-00001-of-00002.safetensors",
        "spiece.model",
        "1_Pooling/config.json",
        "pytorch_model.bin",
        "modeling.py",
        "onnx/model.onnx",
        "onnx/config.json",
        "README.md",
        "tf_model.h5",
        "x.pkl",
    ]
    kept = [entry.path for entry in loadable_files(tuple(FileEntry(name, 1, "a" * 64) for name in names))]
    assert kept == names[:7]


class Source:
    """Files from a dict; counts how much of an endless one was read."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.chunks = 0

    @contextmanager
    def open(self, *, team: str, model_id: str, commit_sha: str, path: str) -> Iterator[Iterator[bytes]]:
        def chunks() -> Iterator[bytes]:
            if path not in self.files:
                while True:
                    self.chunks += 1
                    yield b"x" * 1000
            yield self.files[path]

        yield chunks()


def served(files: dict[str, bytes], **sizes: int) -> ServedModel:
    entries = tuple(
        FileEntry(path, sizes.get("size", len(content)), hashlib.sha256(content).hexdigest())
        for path, content in files.items()
    )
    line = {key: value for key, value in LINE.items() if key != "files"}
    return ServedModel(**line, files=entries)


FILES = {"config.json": b"{}", "model.safetensors": b"weights"}


def test_snapshot_is_made_of_hard_links_to_verified_blobs(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, Source(FILES))
    first, second = cache.snapshot(served(FILES)), cache.snapshot(served(FILES))
    assert first != second
    assert {path.name: path.read_bytes() for path in first.iterdir()} == FILES
    assert (first / "config.json").samefile(second / "config.json")
    cache.discard(first)
    assert (second / "config.json").read_bytes() == b"{}"


def age(folder: Path, hours: float) -> None:
    """As if every blob had last been used so many hours ago."""
    for path in (folder / "blobs").glob("*/*"):
        os.utime(path, (time.time() - hours * 3600,) * 2)


def kept(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in (folder / "blobs").glob("*/*"))


def test_blobs_used_longest_ago_make_room_and_those_in_use_stay(tmp_path: Path) -> None:
    files = [{"config.json": b"{}", "model.safetensors": bytes([number]) * 100} for number in range(3)]
    cache = ArtifactCache(tmp_path, Source(files[0]), most_bytes=250)
    cache.discard(cache.snapshot(served(files[0])))
    age(tmp_path, 3)
    cache._source = Source(files[1])
    second = cache.snapshot(served(files[1]))
    age(tmp_path, 2)
    cache._source = Source(files[2])
    assert len(kept(tmp_path)) == 3  # 202 bytes: it fits
    third = cache.snapshot(served(files[2]))
    assert kept(tmp_path) == sorted([b"{}", bytes([1]) * 100, bytes([2]) * 100])
    assert {p.name: p.read_bytes() for p in second.iterdir()} == files[1]
    cache._most_bytes = 1
    age(tmp_path, 2)
    cache.discard(second)
    assert kept(tmp_path) == sorted([b"{}", bytes([2]) * 100])  # what the third links to stays
    cache.discard(third)
    assert kept(tmp_path) == []


def test_blob_that_another_replica_may_be_linking_stays(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, Source(FILES), most_bytes=1)
    cache.discard(cache.snapshot(served(FILES)))
    assert len(kept(tmp_path)) == 2  # touched a moment ago
    age(tmp_path, 2)
    cache._make_room()
    assert kept(tmp_path) == []


def test_cache_without_a_limit_keeps_everything(tmp_path: Path) -> None:
    cache = ArtifactCache(tmp_path, Source(FILES))
    cache.discard(cache.snapshot(served(FILES)))
    age(tmp_path, 1000)
    cache._make_room()
    assert len(kept(tmp_path)) == 2


def test_snapshot_without_hard_links_copies_and_checks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    folder = ArtifactCache(tmp_path, Source(FILES)).snapshot(served(FILES))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES


def test_an_endless_file_is_cut_at_its_approved_size(tmp_path: Path) -> None:
    source = Source({})
    with pytest.raises(ArtifactError, match="longer than the 5000") as caught:
        ArtifactCache(tmp_path, source).snapshot(served({"config.json": b"{}"}, size=5000))
    assert caught.value.code == "integrity_error"
    assert source.chunks == 6
    assert not list((tmp_path / "tmp").iterdir())
    assert not list((tmp_path / "blobs").rglob("*"))


def test_a_full_disk_is_a_typed_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = ArtifactCache(tmp_path, Source(FILES))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ArtifactError, match="No space left") as caught:
        cache.snapshot(served(FILES))
    assert caught.value.code == "cache_error"
    assert not [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()]
    monkeypatch.undo()
    assert cache.snapshot(served(FILES)).is_dir()


def test_written_json_replaces_whole_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    assert [item.name for item in path.parent.iterdir()] == ["x.json"]
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("depth", [31, 32])
def test_json_nesting_up_to_the_limit_is_read(depth: int) -> None:
    assert parse_json(b"[" * depth + b"]" * depth)


def test_json_nesting_beyond_the_limit_is_refused() -> None:
    with pytest.raises(ApiError) as caught:
        parse_json(b"[" * 33 + b"]" * 33)
    assert caught.value.code == "json_too_deep"


def test_brackets_inside_a_text_are_no_nesting() -> None:
    text = "[{" * 1000
    assert parse_json(json.dumps({"inputs": text}).encode()) == {"inputs": text}


GOOD = {"ASSAY_CONTROL_URL": "http://control:8000/", "ASSAY_SERVER_TOKEN": "secret"}


def test_settings_have_the_contract_s_defaults(tmp_path: Path) -> None:
    settings = read_settings(GOOD | {"ASSAY_SERVER_CACHE": str(tmp_path / "c")})
    assert (settings.control_url, settings.manifest_poll_s) == ("http://control:8000", 2.0)
    assert settings.limits == Limits()
    assert (tmp_path / "c").is_dir()
    assert "secret" not in repr(settings)


def test_every_number_can_be_set_and_is_checked(tmp_path: Path) -> None:
    base = GOOD | {"ASSAY_SERVER_CACHE": str(tmp_path)}
    for name, (target, least, kind) in NUMBERS.items():
        value = "4096" if name == "ASSAY_SERVER_MAX_BODY_BYTES" else "64"
        settings = read_settings(base | {name: value})
        holder: ServerSettings | Limits = settings.limits if target.startswith("limits.") else settings
        assert getattr(holder, target.rpartition(".")[2]) == kind(value)
        for bad in ("many", "nan", "inf", str(least - 1)):
            with pytest.raises(SettingsError, match=name):
                read_settings(base | {name: bad})


@pytest.mark.parametrize(
    ("change", "cure"),
    [
        ({"ASSAY_CONTROL_URL": ""}, "ASSAY_CONTROL_URL"),
        ({"ASSAY_CONTROL_URL": "control:8000"}, "ASSAY_CONTROL_URL"),
        ({"ASSAY_SERVER_TOKEN": ""}, "ASSAY_SERVER_TOKEN"),
        ({"ASSAY_SERVER_TOKEN": "a b"}, "ASSAY_SERVER_TOKEN"),
        ({"ASSAY_SERVER_TOKEN_FILE": "/nonexistent"}, "ASSAY_SERVER_TOKEN_FILE"),
        ({"ASSAY_SERVER_CACHE": ""}, "ASSAY_SERVER_CACHE"),
        ({"ASSAY_SERVER_CACHE": "/proc/nowhere"}, "ASSAY_SERVER_CACHE"),
        ({"ASSAY_SERVER_PRECISION": "int8"}, "fp32, bf16 or fp16"),
        ({"ASSAY_SERVER_CPU_LAYOUT": "both"}, "adaptive"),
        ({"ASSAY_SERVER_MAX_INPUTS": "65"}, "ASSAY_SERVER_MAX_QUEUED_INPUTS"),
    ],
)
def test_settings_refuse_a_bad_value_with_its_cure(tmp_path: Path, change: dict[str, str], cure: str) -> None:
    with pytest.raises(SettingsError, match=cure):
        read_settings(GOOD | {"ASSAY_SERVER_CACHE": str(tmp_path)} | change)


def test_settings_read_the_token_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    environment = GOOD | {
        "ASSAY_SERVER_CACHE": str(tmp_path),
        "ASSAY_SERVER_TOKEN_FILE": str(tmp_path / "token"),
    }
    assert read_settings(environment).server_token == "from-file"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_quota_of_requests_refills_with_time() -> None:
    clock = Clock()
    quotas = Quotas(2.0, 0.0, clock=clock)
    for _ in range(4):
        quotas.begin("a")
    with pytest.raises(ApiError) as caught:
        quotas.begin("a")
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "1")
    quotas.begin("b")
    clock.now += 0.6
    quotas.begin("a")


def test_quota_of_tokens_makes_the_next_request_wait() -> None:
    clock = Clock()
    quotas = Quotas(0.0, 60.0, clock=clock)
    quotas.begin("a")
    quotas.spend("a", 90)
    with pytest.raises(ApiError) as caught:
        quotas.begin("a")
    assert caught.value.headers["Retry-After"] == "31"
    clock.now += 31
    quotas.begin("a")


def test_quotas_of_zero_are_off() -> None:
    quotas = Quotas(0.0, 0.0)
    for _ in range(1000):
        quotas.begin("a")
        quotas.spend("a", 10_000)


def test_a_log_line_is_one_line_of_json_without_exception_messages() -> None:
    secret = "Nguyễn Văn A"
    try:
        raise RuntimeError(secret)
    except RuntimeError as exc:
        record = logging.LogRecord(
            "x",
            logging.ERROR,
            __file__,
            1,
            "first\nsecond %s",
            ("b",),
            (RuntimeError, exc, exc.__traceback__),
        )
    record.tokens = [3]
    line = JsonLines().format(record)
    assert "\n" not in line
    fields = json.loads(line)
    assert (fields["event"], fields["tokens"], fields["level"]) == ("first", [3], "error")
    assert "RuntimeError at test_units.py" in fields["error"]
    assert "Nguy" not in line


def test_text_hashes_are_keyed() -> None:
    one, two, keyed, same = TextHasher(""), TextHasher(""), TextHasher("k"), TextHasher("k")
    assert one("a") == one("a") != one("b")
    assert one("a") != two("a")
    assert keyed("a") == same("a") != hashlib.sha256(b"a").hexdigest()[:16]


def test_the_loading_loop_ends_when_cancelled_together_with_its_wake_up(tmp_path: Path) -> None:
    """asyncio.wait_for of Python 3.11 loses the cancellation then, and the server could never exit."""
    settings = ServerSettings("http://127.0.0.1:9", "secret", tmp_path)

    def refuse(_: ClassifierConfig) -> DummyBackend:
        raise ModelLoadError("never")

    async def story() -> None:
        loader = ModelLoader(settings, ArtifactCache(tmp_path, Source(FILES)), refuse)
        # A slot that failed, so that the loop sleeps until its next try and not for ever.
        failing = parse_manifest({"generation": "g", "models": [LINE]})
        for pause in range(6):
            fleet = Fleet(settings, loader)
            fleet.apply(failing)
            loop = asyncio.create_task(fleet.run())
            while not fleet.counts()["failed"]:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0.01)
            fleet.apply(failing)
            for _ in range(pause):
                await asyncio.sleep(0)
            loop.cancel()
            done, _ = await asyncio.wait({loop}, timeout=1)
            assert done == {loop}

    asyncio.run(story())


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b'{"inputs": "a"}', {"inputs": "a"}),
        (b'{"inputs": ["a", "b"], "model": "x"}', {"inputs": ["a", "b"], "model": "x"}),
        (b'{"inputs": "a: b"}', None),
        (b'{"inputs": "a\\u003a b"}', {"inputs": "a: b"}),
        (b'{"inputs": "a", "inputs": "b"}', None),
        (b'{"inputs": "a", "\\u0069nputs": "b"}', None),
        (b'{"inputs": "\\ud800"}', None),
        (b'{"inputs": "\xff"}', None),
        (b'{"inputs": "a\x00"}', None),
        (b'\xef\xbb\xbf{"inputs": "a"}', None),
        (b'{"inputs": {"text": "a"}}', None),
        (b'{"inputs": [["a", "b"]]}', None),
        (b'{"inputs": "a", "top_k": 1}', None),
        (b'{"inputs": null}', None),
        (b'["a"]', None),
        (b'"a"', None),
        (b"{}", {}),
        (b'{"inputs": NaN}', None),
        (b"", None),
        (b'{"inputs": "a"', None),
    ],
)
def test_the_quick_parser_takes_only_what_both_read_alike(raw: bytes, wanted: dict[str, Any] | None) -> None:
    """What it leaves to the careful one is refused there or read, but never read differently."""
    assert _plain(raw) == wanted
    if wanted is not None:
        assert json.loads(raw) == wanted == parse_json(raw)
