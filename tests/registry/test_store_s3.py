"""Objects of a bucket: what becomes one, how it is known to be right, and a bucket that hardly answers."""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry import store, store_s3
from registry.exceptions import IntegrityFailure
from tests.registry.buckets import client, in_a_bucket, s3_server

SMALL = b"weights" * 1000
LARGE = bytes(range(256)) * (20 * 4096)  # 20 MiB: two parts
SIZES = pytest.mark.parametrize("data", [SMALL, LARGE], ids=["in one", "in parts"])


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


class Bucket:
    """The bucket as its operator (or an attacker) sees it."""

    def __init__(self, settings: Any, url: str) -> None:
        self.name = in_a_bucket(settings, url)["bucket_name"]
        self.client = client(url)

    def put(self, data: bytes, key: str, **told: Any) -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=data, **told)

    def raw(self, data: bytes) -> bytes | None:
        key = store_s3.key_of(sha256_of(data))
        if key not in self.keys():
            return None
        found: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return found

    def keys(self, prefix: str = "") -> list[str]:
        listed = self.client.list_objects_v2(Bucket=self.name, Prefix=f"assay/{prefix}")
        return [found["Key"] for found in listed.get("Contents", [])]

    def unfinished(self) -> list[Any]:
        found: list[Any] = self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return found


@pytest.fixture
def bucket(settings: Any, s3: str) -> Bucket:
    return Bucket(settings, s3)


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(data: bytes) -> store.Stored:
    return store.put([data], size=len(data))


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("this must not be called")


# --- what becomes an object --------------------------------------------------------------------------------------------


@SIZES
def test_upload_says_the_digest_and_the_bucket_keeps_it(bucket: Bucket, data: bytes) -> None:
    sent: dict[str, list[str]] = {"PutObject": [], "UploadPart": []}
    events = store_s3._client().meta.events
    for name, headers in sent.items():
        events.register(
            f"before-call.s3.{name}",
            lambda params, headers=headers, **_: headers.append(
                params["headers"].get("x-amz-checksum-sha256")
            ),
        )
    sha256 = put(data).sha256
    pieces = [data[at : at + store_s3.PART] for at in range(0, len(data), store_s3.PART)]
    told = sent["PutObject" if data is SMALL else "UploadPart"]
    expected = [base64.b64encode(hashlib.sha256(piece).digest()).decode() for piece in pieces]
    assert told[-len(pieces) :] == expected
    found = store_s3.head(sha256)
    assert found is not None and found["ChecksumSHA256"] and bucket.raw(data) == data


@SIZES
def test_file_of_another_digest_never_becomes_an_object(bucket: Bucket, tmp_path: Path, data: bytes) -> None:
    (tmp_path / "lie").write_bytes(b"?" + data[1:])
    with pytest.raises(IntegrityFailure) as failure:
        store_s3._send(tmp_path / "lie", sha256_of(data), len(data))
    assert failure.value.code == "wrong_bytes"
    assert bucket.keys("blobs/") == [] and bucket.unfinished() == []


@SIZES
def test_object_that_is_there_is_never_overwritten(bucket: Bucket, tmp_path: Path, data: bytes) -> None:
    bucket.put(b"somebody was faster", store_s3.key_of(sha256_of(data)))
    (tmp_path / "file").write_bytes(data)
    store_s3._send(tmp_path / "file", sha256_of(data), len(data))
    assert bucket.raw(data) == b"somebody was faster" and bucket.unfinished() == []


@SIZES
def test_somebody_faster_with_other_bytes_is_noticed(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    ask = store_s3.head
    answers = iter([lambda _: None, ask])  # it appears between our question and our upload
    monkeypatch.setattr(store_s3, "head", lambda sha256: next(answers)(sha256))
    bucket.put(b"?" + data[1:], store_s3.key_of(sha256_of(data)))
    with pytest.raises(IntegrityFailure, match="does not hold what was uploaded"):
        put(data)


def test_bytes_that_changed_on_the_way_are_wrong_bytes_and_not_a_bucket_that_is_down(bucket: Bucket) -> None:
    refusal = {"Error": {"Code": "BadDigest"}, "ResponseMetadata": {}}
    store_s3._client().meta.events.register(
        "before-call.s3.PutObject",
        lambda params, **_: (
            (SimpleNamespace(status_code=400), refusal) if "/blobs/" in params["url"] else None
        ),
    )
    with pytest.raises(IntegrityFailure) as failure:
        put(SMALL)
    assert failure.value.code == "wrong_bytes" and bucket.keys("blobs/") == []


# --- how an object is known to be right --------------------------------------------------------------------------------


def said_by_server(data: bytes) -> dict[str, Any]:
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    return {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": digest}


@SIZES
@pytest.mark.parametrize("digest", ["none", "its own"])
def test_putting_over_other_bytes_of_the_same_size_mends_them(
    bucket: Bucket, data: bytes, digest: str
) -> None:
    sha256, wrong = sha256_of(data), b"?" + data[1:]
    told = said_by_server(wrong) if digest == "its own" else {}
    bucket.put(wrong, store_s3.key_of(sha256), Metadata={"sha256": sha256}, **told)
    put(data)
    assert bucket.raw(data) == data and len(bucket.keys("damaged/")) == 1


@SIZES
def test_object_whose_digest_the_server_knows_is_not_read_again(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    put(data)
    monkeypatch.setattr(store_s3, "read", never)
    monkeypatch.setattr(store_s3, "_send", never)
    put(data)
    assert bucket.keys("damaged/") == []


@SIZES
def test_right_object_without_a_digest_is_read_and_stays(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, data: bytes
) -> None:
    bucket.put(data, store_s3.key_of(sha256_of(data)))
    monkeypatch.setattr(store_s3, "_send", never)
    put(data)
    assert bucket.keys("damaged/") == []


@pytest.mark.parametrize("suffix", ["", "-2"])
def test_digest_of_digests_may_name_the_number_of_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    monkeypatch.setattr(store_s3, "read", never)
    (tmp_path / "file").write_bytes(LARGE)
    parts = [hashlib.sha256(LARGE[: store_s3.PART]).digest(), hashlib.sha256(LARGE[store_s3.PART :]).digest()]
    said = base64.b64encode(hashlib.sha256(b"".join(parts)).digest()).decode() + suffix
    found = {"ContentLength": len(LARGE), "ChecksumSHA256": said}
    assert store_s3._is_right(found, tmp_path / "file", sha256_of(LARGE), len(LARGE))


def test_large_file_is_read_in_ranges(bucket: Bucket) -> None:
    sha256 = put(LARGE).sha256
    store.path_of(sha256).unlink()
    with store.verified_once(sha256, len(LARGE)) as file:
        file.seek(store_s3.PART - 3)
        assert file.read(6) == LARGE[store_s3.PART - 3 :][:6]
    assert store.path_of(sha256).read_bytes() == LARGE


# --- a bucket that hardly answers --------------------------------------------------------------------------------------


@contextmanager
def answering(size: int, pieces: Iterator[bytes]) -> Iterator[str]:
    """A server that declares `size` bytes for whatever is asked, and sends the pieces."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                for piece in pieces:
                    connection.sendall(piece)
        except OSError:
            return  # the client had enough

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.close()
        thread.join(5)


def trickle() -> Iterator[bytes]:
    for _ in range(200):
        yield b"x"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("pieces", "why"),
    [(trickle, "too slow"), (lambda: iter([b"x" * 100]), "answer ended early|ProtocolError")],
)
def test_answer_that_trickles_or_ends_early_is_a_bucket_that_is_down_and_no_damage(
    bucket: Bucket, settings: Any, monkeypatch: pytest.MonkeyPatch, pieces: Any, why: str
) -> None:
    monkeypatch.setattr(store_s3, "SLOWEST", 100 * 1024 * 1024)
    settings.STORE_S3_TIMEOUT_S = 1
    with answering(len(LARGE), pieces()) as url:
        settings.STORE_S3 = {**settings.STORE_S3, "endpoint_url": url}
        started = time.monotonic()
        with pytest.raises(store_s3.StoreUnreachable, match=why) as failure:
            store.verified_once(sha256_of(LARGE), len(LARGE))
        assert time.monotonic() - started < 10
    assert failure.value.details["found"] == "unreadable"
    assert not store.path_of(sha256_of(LARGE)).exists() and list((store.root() / "tmp").iterdir()) == []
