"""The lock by itself: signed, whole, unexpired. Whatever is changed in it, somebody notices."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cli import document
from registry.canonical import canonical_json
from registry.canonical import manifest_sha256 as registry_manifest
from tests.cli.locks import KEY, MODEL_ID, OTHER_KEY, SHA, Desk, entry, key_id_of, pem_of, signed


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from leaves(item, (*path, key))


def changed(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case str():
            return value[:-1] + ("0" if not value.endswith("0") else "1")
        case None:
            return "x"
        case list():
            return value[:-1]
        case _:
            return {**value, "more": 1}


EVERYWHERE = list(leaves(signed(entry(files={"a": b"1", "b": b"2"}))))


def at(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        content = content[key]
    return content


def test_good_lock_is_ok(desk: Desk) -> None:
    code, rules, answer = desk.with_lock()
    assert (code, rules, answer["problems"]) == (0, [], [])
    assert answer["checked"] == [f"signature by key {key_id_of(KEY)}", f"{desk.lock}: 1 model"]


@pytest.mark.parametrize("kind", ["changed", "removed"])
def test_any_change_anywhere_is_noticed(desk: Desk, kind: str) -> None:
    assert len(EVERYWHERE) > 35
    for path in EVERYWHERE:
        content = signed(entry(files={"a": b"1", "b": b"2"}))
        holder = at(content, path[:-1])
        if kind == "removed":
            del holder[path[-1]]
        else:
            holder[path[-1]] = changed(holder[path[-1]])
        desk.lock.write_text(json.dumps(content))  # JSON reads faster, and it is the same document
        code, rules, _ = desk.with_lock()
        assert code != 0, path
        if path[0] not in ("schema", "signature"):
            assert "signature-invalid" in rules, path


@pytest.mark.parametrize(
    "value", [None, 5, -1, "x", "", [], {}, [[]], True, "\\ud800", "9" * 5000, "0001-01-01T00:00:00+14:00"]
)
def test_any_other_value_anywhere_is_noticed_and_never_a_crash(desk: Desk, value: Any) -> None:
    base, cache = desk.snapshot(), desk.cache()
    for path in EVERYWHERE:
        content = signed(entry(files={"a": b"1", "b": b"2"}))
        holder = at(content, path[:-1])
        if holder[path[-1]] == value:
            continue
        holder[path[-1]] = json.loads(f'"{value}"') if isinstance(value, str) else value
        desk.lock.write_text(json.dumps(content))
        assert desk.with_lock("--snapshot", base, "--hf-cache", cache)[0] != 0, path
        assert desk.run("--lock", desk.lock, "--hf-cache", cache)[0] != 0, path


def test_moved_entries_are_noticed(desk: Desk) -> None:
    content = signed(entry(), entry("acme/another"))
    content["models"].reverse()
    desk.write(content)
    assert desk.with_lock()[:2] == (1, ["signature-invalid"])


def test_json_lock_and_reordered_keys_are_the_same_document(desk: Desk) -> None:
    desk.lock.write_text(json.dumps(signed(entry()), sort_keys=True))
    assert desk.with_lock()[:2] == (0, [])
    desk.lock.write_text("# a comment\n" + yaml.safe_dump(signed(entry())))
    assert desk.with_lock()[:2] == (0, [])


def test_signature_of_another_key_is_refused(desk: Desk) -> None:
    desk.write(signed(entry(), key=OTHER_KEY))
    assert desk.with_lock()[:2] == (1, ["signature-unknown-key"])
    forged = signed(entry(), key=OTHER_KEY)
    forged["signature"]["key_id"] = key_id_of(KEY)
    desk.write(forged)
    assert desk.with_lock()[:2] == (1, ["signature-invalid"])


@pytest.mark.parametrize("value", ["", "!!", "AAAA", None, 5])
def test_broken_signature_value_is_refused(desk: Desk, value: Any) -> None:
    content = signed(entry())
    content["signature"]["value"] = value
    desk.write(content)
    assert desk.with_lock()[:2] == (1, ["signature-invalid"])


def test_missing_signature_is_refused_with_and_without_a_key(desk: Desk) -> None:
    content = signed(entry())
    del content["signature"]
    desk.write(content)
    assert desk.with_lock()[:2] == (1, ["signature-missing"])
    assert desk.run("--lock", desk.lock)[:2] == (1, ["signature-missing"])


def test_without_a_key_it_is_said_and_strict_fails(desk: Desk) -> None:
    assert desk.run("--lock", desk.lock)[:2] == (0, ["signature-unchecked"])
    assert desk.run("--lock", desk.lock, "--strict")[:2] == (1, ["signature-unchecked"])


@pytest.mark.parametrize("content", [b"", b"text", pem_of(KEY)[:60]])
def test_unreadable_key_cannot_check(desk: Desk, content: bytes) -> None:
    desk.key.write_bytes(content)
    code, _, answer = desk.with_lock()
    assert code == 2 and "PEM" in answer["problems"][0]
    desk.key.unlink()
    assert desk.with_lock()[0] == 2


def test_lock_of_a_branch_is_found_even_when_signed(desk: Desk) -> None:
    desk.write(signed(entry(revision="main")))
    assert desk.with_lock()[:2] == (1, ["lock-unpinned"])


def test_expired_lock_is_found(desk: Desk) -> None:
    desk.write(signed(entry(expires_at="2026-01-01T00:00:00+07:00")))
    code, rules, answer = desk.with_lock()
    assert (code, rules) == (1, ["lock-expired"])
    assert "2025-12-31 17:00 UTC" in answer["findings"][0]["message"]


def test_file_list_must_give_the_manifest(desk: Desk) -> None:
    content = entry()
    content["files"][0]["size"] += 1
    desk.write(signed(content))
    assert desk.with_lock()[:2] == (1, ["lock-manifest"])


BAD_TEXTS = {
    "empty": "",
    "a list": "- a\n",
    "no schema": "models: []\n",
    "another schema": "schema: assay.lock/9\nmodels: []\n",
    "broken yaml": "a: [1\n",
    "broken json": '{"schema": "assay.lock/1"',
    "alias": "schema: assay.lock/1\na: &x [1]\nmodels: [*x]\n",
    "alias bomb": "a: &a [x,x]\nb: &b [*a,*a]\nschema: assay.lock/1\n",
    "deep yaml": "schema: assay.lock/1\nmodels: " + "[" * 20_000,
    "deep json": '{"schema":' + "[" * 200_000,
    "repeated key": "schema: assay.lock/1\nschema: assay.lock/1\nmodels: []\n",
    "repeated json key": '{"schema": "assay.lock/1", "schema": "assay.lock/1"}',
    "merge key": "schema: assay.lock/1\n<<: {models: []}\n",
    "a python object": "!!python/object/apply:os.system [true]\n",
    "unhashable key": "schema: assay.lock/1\n? [a]\n: b\n",
    "no models": "schema: assay.lock/1\nmodels: []\n",
    "model of another shape": "schema: assay.lock/1\nmodels: [text]\n",
}


@pytest.mark.parametrize("text", BAD_TEXTS.values(), ids=BAD_TEXTS.keys())
def test_text_that_is_no_lock_cannot_be_checked(desk: Desk, text: str) -> None:
    desk.lock.write_text(text)
    code, _, answer = desk.run("--lock", desk.lock)
    assert answer["problems"] and code in (1, 2)
    if "signature-missing" not in desk.run("--lock", desk.lock)[1]:
        assert code == 2


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x00"])
def test_bytes_that_are_no_text_cannot_be_checked(desk: Desk, content: bytes) -> None:
    desk.lock.write_bytes(content)
    assert desk.run("--lock", desk.lock)[0] == 2


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a/./b", "", "a\\b", "a\0b"])
def test_file_names_that_leave_the_folder_are_refused(desk: Desk, path: str) -> None:
    content = entry()
    content["files"][0]["path"] = path
    desk.write(signed(content))
    code, _, answer = desk.with_lock("--snapshot", desk.snapshot())
    assert code == 2 and "not as a lock file has it" in answer["problems"][0]


@pytest.mark.parametrize("model_id", ["../x", "acme", "a/b/c", "acme/..", "a--b/c", ""])
def test_model_ids_that_are_none_are_refused(desk: Desk, model_id: str) -> None:
    desk.write(signed(entry(model_id)))
    assert desk.with_lock()[0] == 2


def test_revision_that_is_a_path_is_never_one(desk: Desk) -> None:
    desk.write(signed(entry(revision="../../../snapshot")))
    desk.snapshot()
    assert desk.with_lock("--hf-cache", desk.cache())[:2] == (1, ["lock-unpinned"])


def test_repeated_model_or_file_is_refused(desk: Desk) -> None:
    desk.write(signed(entry(), entry()))
    assert desk.with_lock()[0] == 2
    content = entry()
    content["files"].append(copy.deepcopy(content["files"][0]))
    desk.write(signed(content))
    assert desk.with_lock()[0] == 2


def test_command_and_registry_digest_alike() -> None:
    content = signed(entry())
    rest = {key: value for key, value in content.items() if key != "signature"}
    assert document.canonical(content) == canonical_json(rest).encode()
    rows = [(f["path"], f["size"], f["sha256"]) for f in content["models"][0]["files"]]
    assert registry_manifest(rows) == content["models"][0]["manifest_sha256"]
    assert (content["models"][0]["model"]["model_id"], content["models"][0]["model"]["revision"]) == (
        MODEL_ID,
        SHA,
    )
