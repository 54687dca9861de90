"""One file over HTTP: headers, ranges, streaming, hand-over to a front server, damage."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from django.test import Client
from django.urls import set_script_prefix

from config import env
from registry import hub as upstream
from registry import store
from registry.exceptions import HubUnreachable
from registry.gateway.files import _Sending
from registry.models import AuditEvent, Blob
from registry.services import integrity
from tests.factories import MODEL_ID, SHA_A, Api, make_token
from tests.gateway.scene import FILES, Scene, spoil

WEIGHTS = f"/hub/{MODEL_ID}/resolve/main/model.safetensors"
BYTES = FILES["model.safetensors"]


def get(hub: Api, path: str = WEIGHTS, **headers: str) -> Any:
    return hub.client.get(path, headers={"Authorization": f"Bearer {hub.token}", **headers})


def body(answer: Any) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def test_head_answers_from_the_manifest_without_opening_the_store(
    hub: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.store.reading.open_blob", None)
    answer = hub.send("HEAD", WEIGHTS)
    assert answer.status == 200 and answer.content == b""
    assert answer.headers["Content-Length"] == answer.headers["X-Linked-Size"] == str(len(BYTES))
    assert (
        answer.headers["ETag"] == answer.headers["X-Linked-Etag"] == f'"{hashlib.sha256(BYTES).hexdigest()}"'
    )
    assert answer.headers["X-Repo-Commit"] == SHA_A and answer.headers["Accept-Ranges"] == "bytes"


def test_etag_of_a_small_file_is_gits_blob_id(hub: Api) -> None:
    data = FILES["config.json"]
    expected = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    assert hub.get(f"/hub/{MODEL_ID}/resolve/main/config.json").headers["ETag"] == f'"{expected}"'


def test_page_in_a_repository_can_only_be_saved(hub: Api) -> None:
    answer = hub.get(f"/hub/{MODEL_ID}/resolve/main/page.html")
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == "attachment; filename*=UTF-8''page.html"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


def test_nothing_of_xet_cookies_or_other_hosts_leaves(hub: Api) -> None:
    for path in (
        WEIGHTS,
        f"/hub/api/models/{MODEL_ID}",
        f"/hub/api/models/{MODEL_ID}/tree/main",
        "/hub/api/models",
    ):
        answer = hub.get(path)
        said = repr(dict(answer.headers)).lower() + (repr(answer.data).lower() if answer.data else "")
        assert answer.status == 200
        assert not any(
            word in said for word in ("xet-", "xethash", "set-cookie", "huggingface", "location", "assay_")
        )


@pytest.mark.parametrize(
    ("asked", "status", "expected", "content_range"),
    [
        ("bytes=0-9", 206, BYTES[:10], "bytes 0-9/16384"),
        ("bytes=100-", 206, BYTES[100:], "bytes 100-16383/16384"),
        ("bytes=-10", 206, BYTES[-10:], "bytes 16374-16383/16384"),
        ("bytes=0-", 206, BYTES, "bytes 0-16383/16384"),
        ("bytes=16383-99999", 206, BYTES[-1:], "bytes 16383-16383/16384"),
        ("bytes=-99999", 206, BYTES, "bytes 0-16383/16384"),
        ("bytes=0-1,5-6", 200, BYTES, None),
        ("bytes=9-3", 200, BYTES, None),
        ("items=0-1", 200, BYTES, None),
        ("bytes=-", 200, BYTES, None),
        ("bytes=a-b", 200, BYTES, None),
        ("bytes=" + "9" * 40 + "-", 200, BYTES, None),
    ],
)
def test_range_gives_exactly_these_bytes(
    hub: Api, asked: str, status: int, expected: bytes, content_range: str | None
) -> None:
    answer = get(hub, Range=asked)
    assert (answer.status_code, body(answer)) == (status, expected)
    assert answer.headers["Content-Length"] == str(len(expected))
    assert answer.headers.get("Content-Range") == content_range


@pytest.mark.parametrize("asked", ["bytes=16384-", "bytes=99999-100000", "bytes=-0"])
def test_range_behind_the_end_is_416(hub: Api, asked: str) -> None:
    answer = get(hub, Range=asked)
    assert answer.status_code == 416 and answer.headers["Content-Range"] == "bytes */16384"


def test_content_is_streamed_in_pieces(hub: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.gateway.files.CHUNK", 1000)
    answer = get(hub)
    pieces = list(answer.streaming_content)
    assert len(pieces) == 17 and max(map(len, pieces)) == 1000 and b"".join(pieces) == BYTES


def test_unread_answer_closes_its_file(hub: Api) -> None:
    """A client that leaves before the first byte: pytest turns an unclosed file into an error."""
    answer = get(hub)
    (sending,) = [
        s for c in answer._resource_closers if isinstance(s := getattr(c, "__self__", None), _Sending)
    ]
    was_open = not sending.source.closed
    sending.close()
    assert was_open and sending.source.closed and list(sending) == []


def test_everything_works_under_a_prefix(hub: Api, scene: Scene, settings: Any) -> None:
    settings.PUBLIC_URL = "https://intranet.example/assay"
    client = Client(SCRIPT_NAME="/assay")
    headers = {"Authorization": f"Bearer {hub.token}"}
    try:
        answer = client.get(WEIGHTS, headers=headers)
        assert answer.status_code == 200 and b"".join(answer.streaming_content) == BYTES  # type: ignore[attr-defined]
        listed = client.get("/hub/api/models?limit=1", headers=headers)
        assert listed.json()[0]["id"] == MODEL_ID
    finally:
        set_script_prefix("/")


# --- a front server ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accel", "header"), [("/assay-store/", "X-Accel-Redirect"), ("sendfile", "X-Sendfile")]
)
def test_front_server_is_told_where_the_verified_bytes_lie(
    hub: Api, scene: Scene, settings: Any, accel: str, header: str
) -> None:
    settings.ACCEL = accel
    sha256 = hashlib.sha256(BYTES).hexdigest()
    answer = get(hub)
    tail = f"{sha256[:2]}/{sha256[2:4]}/{sha256}"
    expected = (
        f"/assay-store/{tail}" if header == "X-Accel-Redirect" else str(store.path_of(sha256).absolute())
    )
    assert answer.status_code == 200 and answer.content == b"" and answer.headers[header] == expected
    assert answer.headers["X-Repo-Commit"] == SHA_A
    spoil(scene.approved, "model.safetensors", lambda place: place.write_bytes(b"other"))
    damaged = get(hub)
    assert damaged.status_code == 503 and header not in damaged.headers


def test_front_server_setting_is_refused_when_misspelt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAY_ACCEL", "nginx")
    with pytest.raises(Exception, match="ASSAY_ACCEL is 'nginx'"):
        env.read("ASSAY_ACCEL")


# --- damage ------------------------------------------------------------------------------------------------------------


def flip(place: Path) -> None:
    data = bytearray(place.read_bytes())
    data[7] ^= 1
    place.write_bytes(data)


def truncate(place: Path) -> None:
    place.write_bytes(place.read_bytes()[:-1])


def link(place: Path) -> None:
    other = place.with_name("elsewhere")
    place.rename(other)
    place.symlink_to(other)  # the right bytes, reached through a link: still no


def pipe(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)


def folder(place: Path) -> None:
    place.unlink()
    place.mkdir()


DAMAGES = [flip, truncate, Path.unlink, link, pipe, folder]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.__name__)
@pytest.mark.parametrize("met_before", [False, True], ids=["cold", "known"])
def test_damaged_file_is_never_served_and_is_noted_once(
    hub: Api,
    scene: Scene,
    heal_bells: list[str],
    django_capture_on_commit_callbacks: Any,
    damage: Callable[[Path], None],
    met_before: bool,
) -> None:
    if met_before:
        assert body(get(hub)) == BYTES
    sha256 = spoil(scene.approved, "model.safetensors", damage)
    with django_capture_on_commit_callbacks(execute=True):
        answers = [get(hub), get(hub), get(hub, Range="bytes=0-3")]
    for answer in answers:
        assert answer.status_code == 503 and answer.headers["X-Error-Code"] == "integrity_error"
        assert answer.headers["Retry-After"] == "60" and "not served" in answer.json()["error"]
    assert AuditEvent.objects.filter(verb="integrity.failed").count() == 1
    assert heal_bells == [sha256]


def test_restored_file_is_served_again_and_noted(hub: Api, scene: Scene) -> None:
    spoil(scene.approved, "model.safetensors", flip)
    assert get(hub).status_code == 503
    store.put([BYTES], size=len(BYTES))
    assert body(get(hub)) == BYTES
    verbs = list(AuditEvent.objects.order_by("seq").values_list("verb", flat=True))
    assert verbs[-2:] == ["integrity.failed", "integrity.restored"]


def test_file_that_cannot_be_opened_now_is_503_and_no_damage(
    hub: Api, monkeypatch: pytest.MonkeyPatch, scene: Scene
) -> None:
    def too_many(*args: Any) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("registry.store.reading.os.open", too_many)
    assert get(hub).status_code == 503
    assert not AuditEvent.objects.filter(verb="integrity.failed").exists()
    assert not Blob.objects.filter(damaged_at__isnull=False).exists()


def test_file_is_hashed_once_a_process_until_it_changes(
    hub: Api, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    real = store.verified

    def verified(sha256: str, size: int) -> IO[bytes]:
        hashed.append(sha256)
        return real(sha256, size)

    monkeypatch.setattr("registry.store.reading.verified", verified)
    place = store.path_of(scene.approved.files.get(path="model.safetensors").blob_id)
    os.utime(place, (1, 1))
    monkeypatch.setattr("registry.store.reading.time.time_ns", lambda: place.stat().st_ctime_ns + 10**9)
    for _ in range(3):
        assert body(get(hub)) == BYTES
    assert len(hashed) == 1
    place.chmod(0o644)  # as any write would, this moves the file's change time
    assert body(get(hub)) == BYTES and len(hashed) == 2


def test_heal_fetches_the_damaged_file_again_by_commit_and_digest(
    hub: Api, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str, str]] = []

    def download(model_id: str, commit_sha: str, path: str, *, size: int) -> Any:
        asked.append((model_id, commit_sha, path))
        yield BYTES

    monkeypatch.setattr(upstream, "download", download)
    sha256 = spoil(scene.approved, "model.safetensors", flip)
    assert get(hub).status_code == 503
    assert integrity.heal(sha256) == "healed" and integrity.heal(sha256) == "not-damaged"
    assert asked[0][0] == MODEL_ID and asked[0][2] == "model.safetensors" and len(asked) == 1
    assert body(get(hub)) == BYTES


def test_heal_keeps_nothing_when_the_upstream_lies_or_is_away(
    hub: Api, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = spoil(scene.approved, "model.safetensors", flip)
    assert get(hub).status_code == 503
    lie = bytes(len(BYTES))
    monkeypatch.setattr(upstream, "download", lambda *args, size: iter([lie]))
    assert integrity.heal(sha256) == "not-healed"
    assert not store.path_of(hashlib.sha256(lie).hexdigest()).exists()

    def away(*args: str, **kwargs: Any) -> Any:
        raise HubUnreachable("away")

    monkeypatch.setattr(upstream, "download", away)
    assert integrity.heal(sha256) == "not-healed" and get(hub).status_code == 503


def test_scrub_finds_damage_that_no_client_has_met_and_rings_again(
    scene: Scene, heal_bells: list[str], django_capture_on_commit_callbacks: Any
) -> None:
    sha256 = spoil(scene.approved, "README.md", flip)
    with django_capture_on_commit_callbacks(execute=True):
        found = integrity.scrub(60)
    assert found == {"verified": Blob.objects.count() - 1, "damaged": 1, "rung": 0}
    assert heal_bells == [sha256]
    assert integrity.scrub(60)["rung"] == 1 and heal_bells == [sha256, sha256]
    assert AuditEvent.objects.filter(verb="integrity.failed").count() == 1


def test_scrub_stops_at_its_budget_and_goes_on_where_it_stopped(scene: Scene) -> None:
    total = Blob.objects.count()
    for _ in range(total):
        assert integrity.scrub(0)["verified"] == 1
    assert not Blob.objects.filter(verified_at__isnull=True).exists()


def test_token_is_in_no_answer(hub: Api, scene: Scene) -> None:
    token = make_token(scene.world.viewer, ["read", "artifacts"])
    answer = Api(token).get("/hub/api/whoami-v2")
    assert token not in repr(answer.data) and token.split("_")[2] not in repr(answer.data)
