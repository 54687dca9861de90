"""Fixtures of the sample Hub's own tests: a small model with a history, a running server, the real client."""

import os

# huggingface_hub reads these once, when it is first imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_DISABLE_XET", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import huggingface_hub
import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.utils import _detect_agent

from tests.sample_hub.running import running_hub
from tests.sample_hub.samples import tiny_model
from tests.sample_hub.store import SampleHubStore

MODEL_ID = "acme/tiny"


@dataclass(frozen=True)
class Tiny:
    """acme/tiny: `first` and `second` are commits of main; `second` adds a folder and a big binary."""

    store: SampleHubStore
    first: str
    second: str
    files: dict[str, bytes]


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    store = SampleHubStore(tmp_path / "hub")
    store.create_repo(MODEL_ID)
    first = store.commit(MODEL_ID, tiny_model(), "Add the model")
    more = {"onnx/model.onnx": bytes(range(256)) * 64, "onnx/deep/notes.txt": "chú ý\n".encode()}
    second = store.commit(MODEL_ID, more, "Add ONNX\n\nExported by hand.")
    store.tag(MODEL_ID, "v1.0", first)
    store.pull_request(MODEL_ID, 1, first)
    return Tiny(store, first, second, tiny_model() | more)


@pytest.fixture
def url(tiny: Tiny) -> Iterator[str]:
    with running_hub(tiny.store.root) as base_url:
        yield base_url


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    # Patient: YAML in Python that gives up on 100,000 brackets takes its time on a busy machine.
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as client:
        yield client


@pytest.fixture
def hub(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HfApi]:
    """The real client, with nothing of this machine: its files are in tmp_path, it asks only this server."""
    # The client asks the default endpoint for this, whatever endpoint HfApi was given. (Changing
    # constants.ENDPOINT breaks downloads: their addresses come from a template filled in at import.)
    monkeypatch.setattr(_detect_agent, "_registry", {"standardEnvVars": [], "harnesses": {}})
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    yield HfApi(endpoint=url, token=False)
    # Its connections are global; left open they would be reported against some later test.
    huggingface_hub.close_session()
