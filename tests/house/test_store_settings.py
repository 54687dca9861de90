"""Settings of the store that do not go together: each combination is refused by name with the cure, or means this."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import env, store_settings

S3 = {"ASSAY_STORE": "s3", "ASSAY_S3_BUCKET": "models"}
KEYS = {"ASSAY_S3_ACCESS_KEY": "AKIA", "ASSAY_S3_SECRET_KEY": "a-secret"}


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    for name in env.SETTINGS:
        if name.startswith(("ASSAY_S3_", "ASSAY_STORE")):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(f"{name}_FILE", raising=False)
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"ASSAY_STORE": "minio"}, "ASSAY_STORE is 'minio'"),
        ({"ASSAY_S3_BUCKET": "models"}, "ASSAY_S3_BUCKET is set, but ASSAY_STORE is folder"),
        (KEYS, "ASSAY_S3_ACCESS_KEY, ASSAY_S3_SECRET_KEY is set, but ASSAY_STORE is folder"),
        ({"ASSAY_STORE": "folder", "ASSAY_S3_ENDPOINT": "https://s3"}, "Set ASSAY_STORE=s3, or remove them"),
        ({"ASSAY_S3_REGION": "eu"}, "ASSAY_S3_REGION is set"),
        ({"ASSAY_STORE": "s3"}, "name the bucket in ASSAY_S3_BUCKET"),
        ({"ASSAY_STORE": "s3", **KEYS}, "name the bucket in ASSAY_S3_BUCKET"),
        ({**S3, "ASSAY_S3_ACCESS_KEY": "AKIA"}, "belong together"),
        ({**S3, "ASSAY_S3_SECRET_KEY": "a-secret"}, "belong together"),
        ({**S3, "ASSAY_S3_ENDPOINT": "minio:9000"}, "ASSAY_S3_ENDPOINT must begin with https://"),
        ({**S3, "ASSAY_S3_ENDPOINT": "ftp://minio"}, "ASSAY_S3_ENDPOINT must begin with https://"),
    ],
    indirect=["given"],
)
def test_combination_is_refused_with_the_cure_and_without_the_secret(given: None, sentence: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refusal:
        store_settings.s3_options()
    assert sentence in str(refusal.value) and "a-secret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("given", "options"),
    [
        ({}, {}),
        ({"ASSAY_STORE": "folder"}, {}),
        (S3, {"bucket_name": "models"}),  # the machine's own role
        (
            {**S3, **KEYS, "ASSAY_S3_ENDPOINT": "http://minio:9000"},
            {
                "bucket_name": "models",
                "endpoint_url": "http://minio:9000",
                "access_key": "AKIA",
                "secret_key": "a-secret",
            },
        ),
    ],
    indirect=["given"],
)
def test_combination_means(given: None, options: dict[str, str]) -> None:
    assert store_settings.s3_options() == options


@pytest.mark.parametrize(
    ("given", "prefix"),
    [
        ({"ASSAY_S3_PREFIX": prefix}, meant)
        for prefix, meant in [("", ""), ("/", ""), ("a", "a/"), ("/a/b/", "a/b/")]
    ],
    indirect=["given"],
)
def test_prefix_is_a_folder(given: None, prefix: str) -> None:
    assert store_settings.s3_prefix() == prefix


@pytest.mark.parametrize(
    "given", [{"ASSAY_S3_PREFIX": prefix} for prefix in ("..", "a/../b", "./a", "a/.")], indirect=True
)
def test_prefix_with_dots_is_refused(given: None) -> None:
    with pytest.raises(ImproperlyConfigured, match="write a plain folder name"):
        store_settings.s3_prefix()


@pytest.mark.parametrize(
    ("given", "job_timeout_s", "refused"),
    [
        ({"ASSAY_STORE_GC_H": "24"}, 1800, False),
        ({"ASSAY_STORE_GC_H": "3"}, 3599, False),
        ({"ASSAY_STORE_GC_H": "3"}, 3600, True),
        ({"ASSAY_STORE_GC_H": "0"}, 1, True),
    ],
    indirect=["given"],
)
def test_garbage_is_older_than_an_intake_lasts(given: None, job_timeout_s: int, refused: bool) -> None:
    if not refused:
        assert store_settings.grace_hours(job_timeout_s) == env.read("ASSAY_STORE_GC_H")
        return
    with pytest.raises(ImproperlyConfigured, match="longer than an intake may last"):
        store_settings.grace_hours(job_timeout_s)
