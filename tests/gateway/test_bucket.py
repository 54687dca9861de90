"""The Hub endpoint over a bucket: real clients and ranges, and what they are told while the bucket is down."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from registry import store, store_s3
from registry.models import AuditEvent, Blob
from tests.factories import MODEL_ID, SHA_A, Api
from tests.gateway.scene import FILES, HubClient, Scene
from tests.registry.buckets import KEYS, in_a_bucket, s3_server

PATH = f"/hub/{MODEL_ID}/resolve/{SHA_A}/model.safetensors"


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


@pytest.fixture(autouse=True)
def bucket(settings: Any, s3: str) -> dict[str, str]:
    return in_a_bucket(settings, s3)


def without_copies() -> None:
    """A new machine: nothing of the bucket was copied yet."""
    shutil.rmtree(store.root())
    store.root().mkdir()
    store.forget()


SNAPSHOT = f"""
import hashlib, json
from pathlib import Path
from huggingface_hub import snapshot_download
folder = Path(snapshot_download({MODEL_ID!r}))
print(json.dumps({{p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}}))
"""


@pytest.mark.service
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_snapshot_download_and_ranges_come_from_the_bucket(
    client: HubClient, live_scene: Scene, live_server: Any
) -> None:
    without_copies()
    found = json.loads(client.python_says(SNAPSHOT))
    assert found == dict(live_scene.approved.files.values_list("path", "blob_id"))

    content = live_scene.approved.files.get(path="model.safetensors")
    with store.verified(content.blob_id, content.blob.size) as file:
        whole = file.read()
    without_copies()
    for asked, part in [("bytes=3-9", whole[3:10]), ("bytes=-5", whole[-5:]), ("bytes=100-", whole[100:])]:
        answer = httpx.get(
            f"{live_server.url}{PATH}",
            headers={"Range": asked, "Authorization": f"Bearer {client.token}"},
            trust_env=False,
        )
        assert (answer.status_code, answer.content) == (206, part)
    assert store.path_of(content.blob_id).is_file()  # the verified copy that ranges are cut from


@pytest.mark.parametrize("how", ["nobody listens", "no such bucket", "refused"])
def test_bucket_that_is_down_is_not_the_files_damage(
    hub: Api,
    scene: Scene,
    bucket: dict[str, str],
    settings: Any,
    heal_bells: list[str],
    how: str,
) -> None:
    assert hub.get(PATH).content == FILES["model.safetensors"]
    without_copies()
    if how == "nobody listens":
        settings.STORE_S3 = {**bucket, "endpoint_url": "http://127.0.0.1:9"}
    elif how == "no such bucket":
        settings.STORE_S3 = {**bucket, "bucket_name": "not-there"}
    else:
        refusal = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {}}
        store_s3._client().meta.events.register(
            "before-call.s3.GetObject", lambda **_: (SimpleNamespace(status_code=403), refusal)
        )
    answer = hub.get(PATH)
    assert answer.status == 503 and answer.headers["X-Error-Code"] == "store_unreachable"
    assert answer.headers["Retry-After"] == "60"
    assert "could not be read just now" in answer.headers["X-Error-Message"]
    assert not [key for key in KEYS.values() if key in str(answer.headers)]
    assert heal_bells == [] and not AuditEvent.objects.filter(verb="integrity.failed").exists()
    assert not Blob.objects.filter(damaged_at__isnull=False).exists()
