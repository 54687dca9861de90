"""The store's contract, once, against both of its kinds: a folder and a bucket of a real S3 API server."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from registry import provenance, store, store_cache, store_s3
from registry.exceptions import IntegrityFailure, InvalidInput
from registry.intake import keep
from registry.models import AuditEvent, Blob, Revision
from registry.services import integrity
from tests.factories import SHA_A, World, make_revision
from tests.registry.buckets import KEYS, client, in_a_bucket, s3_server
from tests.registry.hubs import MODEL_ID, Hub, sample_hub
from tests.registry.test_intake import intake

DATA = b"weights" * 1000
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@dataclass
class Kept:
    """A store as its operator (or an attacker) sees it from behind."""

    kind: str
    settings: Any
    url: str = ""

    def _object(self, sha256: str) -> dict[str, str]:
        return {"Bucket": self.settings.STORE_S3["bucket_name"], "Key": store_s3.key_of(sha256)}

    def raw(self, sha256: str = DIGEST) -> bytes | None:
        if self.kind == "folder":
            path = store.path_of(sha256)
            return path.read_bytes() if path.is_file() else None
        try:
            found: bytes = client(self.url).get_object(**self._object(sha256))["Body"].read()
        except client(self.url).exceptions.NoSuchKey:
            return None
        return found

    def change(self, data: bytes | None, sha256: str = DIGEST) -> None:
        """Other bytes (or none) behind everybody's back; a new process, with no copy of what was there."""
        path = store.path_of(sha256)
        path.unlink(missing_ok=True)
        store.forget()
        if self.kind == "folder":
            if data is not None:
                path.write_bytes(data)
        elif data is None:
            client(self.url).delete_object(**self._object(sha256))
        else:
            client(self.url).put_object(**self._object(sha256), Body=data, Metadata={"sha256": sha256})


@pytest.fixture(params=["folder", "s3"])
def kept(request: pytest.FixtureRequest, settings: Any) -> Kept:
    if request.param == "folder":
        return Kept("folder", settings)
    url = request.getfixturevalue("s3")
    in_a_bucket(settings, url)
    return Kept("s3", settings, url)


def put(data: bytes = DATA) -> store.Stored:
    return store.put([data[:100], data[100:]], size=len(data))


def test_what_is_put_is_read_whole_and_in_ranges(kept: Kept) -> None:
    assert put() == store.Stored(DIGEST, len(DATA), put().git_oid) and kept.raw() == DATA
    store.path_of(DIGEST).unlink() if kept.kind == "s3" else None
    with store.verified_once(DIGEST, len(DATA)) as file:
        assert file.read() == DATA
        file.seek(700)
        assert file.read(7) == b"weights"
    assert [sha256 for sha256, _ in store.blobs()] == [DIGEST]


def test_empty_and_large_files_are_files(kept: Kept) -> None:
    large = bytes(range(256)) * (4 * 17 * 1024)  # two parts of an upload in parts
    for data in (b"", large):
        stored = put(data)
        assert kept.raw(stored.sha256) == data
        store.path_of(stored.sha256).unlink() if kept.kind == "s3" else None
        store.verified(stored.sha256, len(data)).close()


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
def test_stream_of_another_length_leaves_nothing(kept: Kept, size: int) -> None:
    with pytest.raises(IntegrityFailure):
        store.put([DATA], size=size)
    assert kept.raw() is None and list(store.blobs()) == []


def test_stream_of_other_bytes_leaves_nothing(kept: Kept) -> None:
    with pytest.raises(IntegrityFailure, match="not the ones asked for"):
        store.put([DATA], size=len(DATA), sha256="a" * 64)
    assert list(store.blobs()) == []


DAMAGE = {"missing": None, "other bytes": DATA[:-1] + b"?", "truncated": DATA[:-1], "longer": DATA + b"?"}
FOUND = {"missing": "nothing"}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_never_read_and_put_mends_it(kept: Kept, damage: str) -> None:
    put()
    kept.change(DAMAGE[damage])
    for read in (store.verified, store.verified_once, store.check):
        with pytest.raises(IntegrityFailure) as failure:
            read(DIGEST, len(DATA))
        assert failure.value.details["found"] == FOUND.get(damage, "wrong")
    store.set_aside(DIGEST)
    assert kept.raw() is None
    put()
    assert kept.raw() == DATA


def test_link_is_never_followed(kept: Kept, tmp_path: Path) -> None:
    put()
    (tmp_path / "same").write_bytes(DATA)
    store.path_of(DIGEST).unlink()
    store.path_of(DIGEST).symlink_to(tmp_path / "same")
    if kept.kind == "folder":
        with pytest.raises(IntegrityFailure) as failure:
            store.verified(DIGEST, len(DATA))
        assert failure.value.details["found"] == "no_file"
    else:  # it stands in the way of a copy: the object is the store
        store.verified(DIGEST, len(DATA)).close()
        assert not store.path_of(DIGEST).is_symlink()


def test_parallel_puts_of_the_same_bytes_are_one(kept: Kept) -> None:
    failures: list[BaseException] = []

    def one() -> None:
        try:
            put()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == [] and kept.raw() == DATA and [sha256 for sha256, _ in store.blobs()] == [DIGEST]


def test_child_may_open_the_paths_although_copies_are_evicted(kept: Kept) -> None:
    put()
    with store.local_paths([DIGEST, DIGEST]) as held:
        if kept.kind == "s3":
            store.path_of(DIGEST).unlink()
        assert held[DIGEST].read_bytes() == DATA


# --- who may take a file away ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["the failing one", "the other one"])
def test_failing_intake_leaves_what_another_just_put(kept: Kept, first: str) -> None:
    if first == "the failing one":
        failing, _other = put(), put()
    else:
        _other, failing = put(), put()
    assert not store.discard(failing)
    assert kept.raw() == DATA


def test_failing_intake_takes_its_own_away_or_leaves_it_to_garbage_collection(kept: Kept) -> None:
    assert store.discard(put()) is (kept.kind == "folder")


@pytest.mark.django_db
def test_garbage_is_what_no_revision_uses_for_hours(kept: Kept, world: World) -> None:
    used = put(b"used").sha256
    Blob.objects.create(sha256=used, size=4)
    put()
    assert integrity.collect() == {"kept": 2, "deleted": 0}  # young
    kept.settings.STORE_GC_H = -1
    assert integrity.collect() == {"kept": 1, "deleted": 1}
    assert kept.raw() is None and kept.raw(used) == b"used"


def test_garbage_that_was_put_again_since_is_kept(kept: Kept) -> None:
    put()
    listed = time.time() + 2
    assert not store.delete_older(DIGEST, time.time() - 60)
    assert kept.raw() == DATA
    assert store.delete_older(DIGEST, listed + 60)


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("this must not be called")


def test_renewed_file_is_young_without_a_byte_being_written(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    before, path = time.time() + 1, store.path_of(DIGEST)
    inode = path.lstat().st_ino
    monkeypatch.setattr("registry.store.writing.place", never)
    for name in ("_send", "read"):
        monkeypatch.setattr(store_s3, name, never)
    if kept.kind == "folder":
        os.utime(path, (1, 1))
    time.sleep(2.2)  # a bucket's times are whole seconds
    assert store.renew(DIGEST, len(DATA)) == store.Stored(DIGEST, len(DATA), "")
    assert not store.delete_older(DIGEST, before) and kept.raw() == DATA
    assert path.lstat().st_ino == inode and path.stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_not_whole_is_not_renewed(kept: Kept, damage: str) -> None:
    put()
    kept.change(DAMAGE[damage])
    assert store.renew(DIGEST, len(DATA)) is None and store.renew("no digest", 1) is None


def test_damaged_object_behind_a_good_copy_is_mended_by_renewing(kept: Kept) -> None:
    """In a folder there is no copy: it has to be put."""
    put()
    good = store.path_of(DIGEST).read_bytes()
    kept.change(b"?" + DATA[1:])
    if kept.kind == "s3":
        store.path_of(DIGEST).write_bytes(good)
    assert (store.renew(DIGEST, len(DATA)) is None) is (kept.kind == "folder")
    assert kept.kind == "folder" or kept.raw() == DATA


@pytest.mark.parametrize("happens", ["deleted", "put anew"])
def test_file_that_goes_while_it_is_hashed_is_not_renewed(
    monkeypatch: pytest.MonkeyPatch, happens: str
) -> None:
    """Garbage collection was faster: the intake must not count on a file that has no name any more."""
    put()
    real = store.verified

    def meanwhile(sha256: str, size: int) -> Any:
        file = real(sha256, size)
        assert store.delete_older(DIGEST, time.time() + 60)
        if happens == "put anew":
            put()
        return file

    monkeypatch.setattr("registry.store.writing.verified", meanwhile)
    assert store.renew(DIGEST, len(DATA)) is None


def test_failing_intake_leaves_what_another_renewed() -> None:
    first = put()
    renewed = store.renew(DIGEST, len(DATA))
    assert renewed and not store.discard(first) and not store.discard(renewed)
    store.verified(DIGEST, len(DATA)).close()


def test_failing_intake_takes_its_own_away_although_the_repository_holds_it_twice() -> None:
    kept: dict[str, store.Stored] = {}
    keep(kept, put())
    renewed = store.renew(DIGEST, len(DATA))
    assert renewed
    keep(kept, renewed)
    assert store.discard(kept[DIGEST]) and not store.path_of(DIGEST).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("order", ["the failing one began first", "the other one began first"])
def test_failing_intake_leaves_what_a_real_one_records(
    kept: Kept, world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """The second intake runs, whole, between the downloads and the record of the first; both hold the same files."""
    hub.store.create_repo("acme/twin")
    hub.store.commit("acme/twin", hub.files, "The same files")
    first, second = (MODEL_ID, "acme/twin") if order.startswith("the failing") else ("acme/twin", MODEL_ID)
    trace, ended = provenance.trace, {}

    def meanwhile(found: Any, *more: Any) -> None:
        if found.model_id == first:
            ended[second] = intake(world, model_id=second)
        if found.model_id == MODEL_ID:
            raise InvalidInput("This one fails.")
        trace(found, *more)

    monkeypatch.setattr(provenance, "trace", meanwhile)
    ended[first] = intake(world, model_id=first)
    assert (ended[MODEL_ID].state, ended["acme/twin"].state) == ("failed", "succeeded"), ended[
        "acme/twin"
    ].error
    assert_recorded(kept, hub)


def assert_recorded(kept: Kept, hub: Hub) -> None:
    """The one revision's files are in the store, whole."""
    found = {file.path: kept.raw(file.blob_id) for file in Revision.objects.get().files.all()}
    assert {**found, **hub.files} == found and None not in found.values()


@pytest.mark.django_db
def test_garbage_collection_waits_while_an_intake_runs(
    kept: Kept, world: World, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace, counted = provenance.trace, []
    kept.settings.STORE_GC_H = -1  # everything is old enough

    def meanwhile(*all_of_it: Any) -> None:
        counted.append(integrity.collect()["deleted"])  # downloaded, and no row says so yet
        trace(*all_of_it)

    monkeypatch.setattr(provenance, "trace", meanwhile)
    put()
    assert intake(world).state == "succeeded" and counted == [0]
    assert kept.raw() == DATA and integrity.collect()["deleted"] == 1 and kept.raw() is None
    assert_recorded(kept, hub)


# --- the gateway, healing, intake --------------------------------------------------------------------------------------


@pytest.mark.service
@pytest.mark.django_db
def test_intake_damage_and_healing_from_a_hub(
    kept: Kept, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sample_hub(tmp_path / "hub", monkeypatch) as hub:
        job = intake(world)
        assert job.state == "succeeded", job.error
        file = Revision.objects.get().files.select_related("blob").get(path="model.safetensors")
        content = hub.files["model.safetensors"]
        assert kept.raw(file.blob_id) == content
        kept.change(b"?" + content[1:], file.blob_id)
        assert integrity.scrub(60)["damaged"] == 1
        assert kept.raw(file.blob_id) is None  # set aside
        assert integrity.heal(file.blob_id) == "healed" and kept.raw(file.blob_id) == content
        verbs = AuditEvent.objects.filter(verb__startswith="integrity").order_by("seq")
        assert list(verbs.values_list("verb", flat=True)) == ["integrity.failed", "integrity.restored"]


# --- what only a bucket has --------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(settings: Any, s3: str) -> Kept:
    in_a_bucket(settings, s3)
    return Kept("s3", settings, s3)


def test_damaged_copy_is_not_the_objects_damage(bucket: Kept) -> None:
    put()
    path = store.path_of(DIGEST)
    path.chmod(0o644)
    path.write_bytes(b"?" + DATA[1:])
    with store.verified_once(DIGEST, len(DATA)) as file:
        assert file.read() == DATA


@pytest.mark.django_db
@pytest.mark.parametrize("how", ["nobody listens", "no such bucket"])
def test_bucket_that_is_down_is_said_within_seconds_without_its_keys(
    bucket: Kept, world: World, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    revision = make_revision(world.team, SHA_A, files={"config.json": DATA})
    store.path_of(DIGEST).unlink()
    caplog.set_level(logging.DEBUG)
    changed = (
        {"endpoint_url": "http://127.0.0.1:9"} if how == "nobody listens" else {"bucket_name": "not-there"}
    )
    bucket.settings.STORE_S3 = {**bucket.settings.STORE_S3, **changed}
    started = time.monotonic()
    if how == "nobody listens":
        with pytest.raises(store_s3.StoreUnreachable) as failure:
            store.verified_once(DIGEST, len(DATA))
        assert failure.value.status == 503 and failure.value.code == "store_unreachable"
        assert not integrity.damaged(DIGEST, failure.value)
        assert KEYS["secret_key"] not in failure.value.message
        with pytest.raises(store_s3.StoreUnreachable):  # what could not be kept is not downloaded
            store.renew(DIGEST, len(DATA))
    with pytest.raises(store_s3.StoreUnreachable):
        put(b"more")
    assert time.monotonic() - started < 15
    assert KEYS["secret_key"] not in caplog.text
    assert not Blob.objects.filter(damaged_at__isnull=False).exists() and revision.files.count() == 1


def test_folder_of_copies_stays_below_its_size(bucket: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_cache, "IN_USE_S", 0)
    old, new = put(b"a" * 1000), put(b"b" * 1000)
    os.utime(store.root() / "used" / old.sha256, (1, 1))
    bucket.settings.STORE_CACHE_BYTES = 1500
    assert store_cache.shrink(store.root()) == 1
    assert not store.path_of(old.sha256).exists() and store.path_of(new.sha256).exists()
    with store.verified(old.sha256, 1000) as file:
        assert file.read() == b"a" * 1000
