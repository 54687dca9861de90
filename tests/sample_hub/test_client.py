"""The real huggingface_hub client against the sample Hub."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile

from tests.sample_hub.conftest import MODEL_ID, Tiny
from tests.sample_hub.running import hub_process


def _paths(http: httpx.Client) -> list[str]:
    return [f"{asked['method']} {asked['path']}" for asked in http.get("/_requests").json()]


def test_model_info_with_files_metadata(hub: HfApi, tiny: Tiny) -> None:
    info = hub.model_info(MODEL_ID, files_metadata=True, securityStatus=True)
    assert info.sha == tiny.second
    assert info.siblings is not None and info.card_data is not None
    files = {file.rfilename: file for file in info.siblings}
    weights = files["model.safetensors"]
    content = tiny.files["model.safetensors"]
    assert weights.lfs is not None
    assert (weights.size, weights.lfs.size) == (len(content), len(content))
    assert weights.lfs.sha256 == hashlib.sha256(content).hexdigest()
    card = files["README.md"]
    readme = tiny.files["README.md"]
    git_blob = hashlib.sha1(b"blob %d\x00" % len(readme) + readme, usedforsecurity=False).hexdigest()
    assert (card.blob_id, card.size, card.lfs) == (git_blob, len(readme), None)
    assert info.card_data.license == "apache-2.0"
    assert info.pipeline_tag == "text-classification"
    assert info.created_at is not None and info.created_at.year == 2026
    assert hub.model_info(MODEL_ID, revision="refs/pr/1").sha == tiny.first
    assert hub.model_info(MODEL_ID, revision="v1.0").sha == tiny.first
    assert hub.model_info(MODEL_ID, expand=["sha", "pipeline_tag"]).siblings is None


def test_snapshot_download_of_a_commit(hub: HfApi, tiny: Tiny, http: httpx.Client, tmp_path: Path) -> None:
    folder = Path(hub.snapshot_download(MODEL_ID, revision=tiny.second, cache_dir=tmp_path / "cache"))
    assert folder.name == tiny.second
    got = {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}
    got.pop(".gitattributes")
    assert got == tiny.files
    http.delete("/_requests")
    hub.snapshot_download(MODEL_ID, revision=tiny.second, cache_dir=tmp_path / "cache")
    assert _paths(http) == []


def test_snapshot_download_of_main_follows_it(hub: HfApi, tiny: Tiny, tmp_path: Path) -> None:
    assert Path(hub.snapshot_download(MODEL_ID, cache_dir=tmp_path / "cache")).name == tiny.second
    third = tiny.store.commit(MODEL_ID, {"config.json": b"{}"}, "Third")
    assert Path(hub.snapshot_download(MODEL_ID, cache_dir=tmp_path / "cache")).name == third


def test_hf_hub_download_heads_then_gets(hub: HfApi, tiny: Tiny, http: httpx.Client, tmp_path: Path) -> None:
    token = "sample-token"
    got = hub.hf_hub_download(MODEL_ID, "onnx/model.onnx", cache_dir=tmp_path / "cache", token=token)
    assert Path(got).read_bytes() == tiny.files["onnx/model.onnx"]
    asked = [(a["method"], a["path"].split("/")[1], a["token"]) for a in http.get("/_requests").json()]
    # The CDN is another origin: it is never sent the token.
    assert asked[-2:] == [("HEAD", "acme", True), ("GET", "cdn", False)]


def test_download_resumes_with_a_range(hub: HfApi, tiny: Tiny, tmp_path: Path) -> None:
    content = tiny.files["onnx/model.onnx"]
    blobs = tmp_path / "cache" / f"models--{MODEL_ID.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True)
    begun = blobs / f"{hashlib.sha256(content).hexdigest()}.incomplete"
    begun.write_bytes(content[:5000])
    got = hub.hf_hub_download(MODEL_ID, "onnx/model.onnx", cache_dir=tmp_path / "cache")
    assert Path(got).read_bytes() == content


def test_refs_and_commits(hub: HfApi, tiny: Tiny) -> None:
    refs = hub.list_repo_refs(MODEL_ID, include_pull_requests=True)
    assert [(r.name, r.ref, r.target_commit) for r in refs.branches] == [
        ("main", "refs/heads/main", tiny.second)
    ]
    assert [(r.name, r.target_commit) for r in refs.tags] == [("v1.0", tiny.first)]
    assert [(r.ref, r.target_commit) for r in refs.pull_requests or []] == [("refs/pr/1", tiny.first)]
    commits = hub.list_repo_commits(MODEL_ID)
    assert [c.commit_id for c in commits[:2]] == [tiny.second, tiny.first]
    assert (commits[0].title, commits[0].message.strip()) == ("Add ONNX", "Exported by hand.")
    assert (commits[0].authors, commits[0].created_at.hour) == (["acme"], 10)


def test_commits_are_paged(hub: HfApi, tiny: Tiny) -> None:
    for number in range(60):
        tiny.store.commit(MODEL_ID, {"counter.txt": b"%d" % number}, f"Count {number}")
    titles = [commit.title for commit in hub.list_repo_commits(MODEL_ID)]
    assert len(titles) == 63 == len(set(titles))


def test_list_models(hub: HfApi, tiny: Tiny) -> None:
    for name in ("acme/other", "zeta/tiny-two"):
        tiny.store.create_repo(name)
    tiny.store.set_meta("zeta/tiny-two", downloads=9)

    def ids(**asked: Any) -> list[str]:
        return [model.id for model in hub.list_models(**asked)]

    assert ids() == ["acme/other", MODEL_ID, "zeta/tiny-two"]
    assert ids(search="TINY") == [MODEL_ID, "zeta/tiny-two"]
    assert ids(author="acme") == ["acme/other", MODEL_ID]
    assert ids(sort="downloads", limit=1) == ["zeta/tiny-two"]
    assert ids(limit=2) == ["acme/other", MODEL_ID]
    assert ids(filter="license:apache-2.0") == [MODEL_ID]
    assert next(iter(hub.list_models(search="tiny", full=True, cardData=True))).sha == tiny.second


def test_paths_info_and_tree(hub: HfApi, tiny: Tiny) -> None:
    asked = ["README.md", "onnx", "onnx/model.onnx", "nope"]
    found = hub.get_paths_info(MODEL_ID, asked, expand=True)
    assert [item.path for item in found] == ["README.md", "onnx", "onnx/model.onnx"]
    card, _, model = found
    assert isinstance(card, RepoFile) and isinstance(model, RepoFile)
    assert card.last_commit is not None and card.last_commit.oid == tiny.first
    assert model.last_commit is not None and model.last_commit.oid == tiny.second
    assert model.lfs is not None and model.lfs.size == len(tiny.files["onnx/model.onnx"])
    assert card.security is not None and card.security.safe
    tree = list(hub.list_repo_tree(MODEL_ID, "onnx", recursive=True))
    assert [item.path for item in tree] == ["onnx/deep", "onnx/deep/notes.txt", "onnx/model.onnx"]
    assert {item.path for item in hub.list_repo_tree(MODEL_ID)} >= {"onnx", "config.json"}


def test_whoami(hub: HfApi) -> None:
    assert hub.whoami(token="sample-token")["name"] == "sample"


def test_errors_are_the_clients_own(hub: HfApi, tiny: Tiny, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(RevisionNotFoundError, match="Invalid rev id"):
        hub.model_info(MODEL_ID, revision="nope")
    with pytest.raises(RevisionNotFoundError):
        hub.hf_hub_download(MODEL_ID, "config.json", revision="0" * 40, cache_dir=cache)
    with pytest.raises(EntryNotFoundError):
        hub.hf_hub_download(MODEL_ID, "nope.json", cache_dir=cache)
    for token in (False, "sample-token"):
        with pytest.raises(RepositoryNotFoundError):
            hub.model_info("acme/none", token=token)
    tiny.store.set_meta(MODEL_ID, gated="auto")
    with pytest.raises(GatedRepoError):
        hub.hf_hub_download(MODEL_ID, "config.json", cache_dir=cache)
    assert issubclass(RepositoryNotFoundError, HfHubHTTPError)


@pytest.mark.service
def test_fresh_client_process_against_a_server_process(tiny: Tiny, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    script = "import sys, huggingface_hub; print(huggingface_hub.snapshot_download(sys.argv[1]))"
    with hub_process(tiny.store.root) as (url, server):
        # Telemetry stays on, else the client does not ask for agent-harnesses; it goes to HF_ENDPOINT: here.
        environment |= {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home")}
        command = [sys.executable, "-c", script, MODEL_ID]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert Path(done.stdout.strip()).name == tiny.second
        asked = httpx.get(f"{url}/_requests", trust_env=False).json()
        assert "/api/agent-harnesses" in [request["path"] for request in asked]
        server.terminate()
        assert server.wait(10) in (0, -15)
