"""A model process gets its files from a bucket as from a folder, and never other bytes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from registry import store, store_s3
from registry.models import Evidence
from tests.factories import World, make_golden_set, make_revision
from tests.inference.test_measurements import TINY, assert_nothing_left, run
from tests.inference.test_measurements import tiny_files as tiny_files
from tests.registry.buckets import client, in_a_bucket, s3_server


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server() as url:
        yield url


def test_benchmark_and_evaluation_of_files_that_lie_in_a_bucket(
    world: World, tiny_files: dict[str, bytes], settings: Any, s3: str
) -> None:
    bucket = in_a_bucket(settings, s3)["bucket_name"]
    revision = make_revision(world.team, files=tiny_files)
    golden = make_golden_set(world.submitter, [("useful", "positive"), ("late", "negative")])
    asked: dict[str, dict[str, Any]] = {"benchmark": TINY, "evaluation": {"golden_set": golden.pk}}
    for kind, params in asked.items():
        shutil.rmtree(store.root())  # no copy: the bucket has the only bytes
        store.root().mkdir()
        job = run(world, kind, revision, **params)
        assert job.state == "succeeded", (job.error, job.log_tail)
        assert store.path_of(revision.files.get(path="model.safetensors").blob_id).is_file()
    assert set(Evidence.objects.values_list("kind", flat=True)) == {"benchmark", "evaluation"}
    assert_nothing_left()

    file = revision.files.get(path="model.safetensors")
    wrong = tiny_files["model.safetensors"][:-1] + b"\x01"
    client(s3).put_object(Bucket=bucket, Key=store_s3.key_of(file.blob_id), Body=wrong)
    store.path_of(file.blob_id).unlink()
    job = run(world, "benchmark", revision, **TINY)
    assert (job.state, job.error_code) == ("failed", "integrity_error")
    assert Evidence.objects.count() == 2
    assert_nothing_left()
