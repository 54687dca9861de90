"""A sample Hub for Django tests: a tiny model with a history, a running server, and `settings.HUB_ENDPOINT` at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import huggingface_hub
import pytest
from django.conf import settings as django_settings
from django.test import override_settings
from huggingface_hub.utils import _detect_agent

from tests.sample_hub.running import running_hub
from tests.sample_hub.samples import tiny_model
from tests.sample_hub.store import SampleHubStore

MODEL_ID = "acme/sentiment-vi-en"


@dataclass(frozen=True)
class Hub:
    """`first` is the commit of main at the start; `lie(status=429)` until `lie()`."""

    store: SampleHubStore
    url: str
    first: str
    files: dict[str, bytes]

    def lie(self, **lies: Any) -> None:
        assert httpx.post(f"{self.url}/_lies", json=lies, trust_env=False).status_code == 200

    def commit(self, **files: bytes | None) -> str:
        """A commit on top of main; `config__json=b"..."` is the file config.json."""
        named = {name.replace("__", "."): content for name, content in files.items()}
        return self.store.commit(MODEL_ID, named, "Change it")

    def requests(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = httpx.get(f"{self.url}/_requests", trust_env=False).json()
        return found


@contextmanager
def sample_hub(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    # The client asks the default endpoint for this, whatever endpoint it was given.
    monkeypatch.setattr(_detect_agent, "_registry", {"standardEnvVars": [], "harnesses": {}})
    store = SampleHubStore(root)
    store.create_repo(MODEL_ID)
    files = tiny_model()
    first = store.commit(MODEL_ID, files, "Add the model")
    with running_hub(root) as url, override_settings(HUB_ENDPOINT=url, HUB_TIMEOUT_S=2):
        assert url == django_settings.HUB_ENDPOINT
        yield Hub(store, url, first, files)
    # Its connections are global; left open they would be reported against some later test.
    huggingface_hub.close_session()
