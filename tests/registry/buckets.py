"""A real S3 API server on a free loopback port, and the settings of a store in one of its buckets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
import httpx

KEYS = {"access_key": "AKIATESTS", "secret_key": "a-secret-that-must-not-be-said"}


@contextmanager
def s3_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            try:
                httpx.get(url, trust_env=False)
                break
            except httpx.TransportError:
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def client(url: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=KEYS["access_key"],
        aws_secret_access_key=KEYS["secret_key"],
    )


def in_a_bucket(settings: Any, url: str) -> dict[str, str]:
    """A fresh bucket, and the settings at it."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    client(url).create_bucket(Bucket=name)
    settings.STORE_S3 = {"bucket_name": name, "endpoint_url": url, "region_name": "us-east-1", **KEYS}
    settings.STORE_S3_PREFIX = "assay/"
    settings.STORE_S3_TIMEOUT_S = 2
    found: dict[str, str] = settings.STORE_S3
    return found
