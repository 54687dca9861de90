"""The Hub that lies, seen by a plain client and by the real one."""

import time
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from tests.sample_hub.conftest import MODEL_ID, Tiny


def _file(path: str, revision: str = "main") -> str:
    return f"/{MODEL_ID}/resolve/{revision}/{path}"


def _tell(http: httpx.Client, **lies: object) -> None:
    assert http.post("/_lies", json=lies).status_code == 200


def test_no_lies_at_the_start_and_after_an_empty_telling(http: httpx.Client) -> None:
    start = http.get("/_lies").json()
    _tell(http, status=503)
    assert http.get("/_lies").json()["status"] == 503
    _tell(http)
    assert http.get("/_lies").json() == start
    assert http.head(_file("config.json")).status_code == 307


@pytest.mark.parametrize(
    "told",
    [{"wrong_byte": ["x"]}, {"status": 200}, {"status": "429"}, {"wrong_bytes": "x"}, [], {"status_on": 1}],
)
def test_a_lie_that_means_nothing_is_refused(http: httpx.Client, told: object) -> None:
    assert http.post("/_lies", json=told).status_code == 422


@pytest.mark.parametrize("path", ["config.json", "model.safetensors"])
def test_wrong_bytes_keep_size_and_headers(http: httpx.Client, tiny: Tiny, path: str) -> None:
    true = http.get(_file(path), follow_redirects=True)
    _tell(http, wrong_bytes=[path])
    got = http.get(_file(path), follow_redirects=True)
    assert len(got.content) == len(true.content) and got.content[:-1] == true.content[:-1]
    assert got.content[-1] != true.content[-1]
    assert got.headers["etag"] == true.headers["etag"]
    part = http.get(_file(path), headers={"Range": "bytes=0-9"}, follow_redirects=True)
    assert part.content == true.content[:10]
    _tell(http, wrong_bytes=[path], model_id="acme/another")
    assert http.get(_file(path), follow_redirects=True).content == true.content


def test_real_client_accepts_wrong_bytes(http: httpx.Client, hub: HfApi, tiny: Tiny, tmp_path: Path) -> None:
    """Why whoever downloads must verify the sha256: the client does not."""
    _tell(http, wrong_bytes=["model.safetensors"])
    got = hub.hf_hub_download(
        MODEL_ID, "model.safetensors", revision=tiny.first, cache_dir=tmp_path / "cache"
    )
    assert Path(got).read_bytes() != tiny.files["model.safetensors"]


def test_wrong_commit(http: httpx.Client, tiny: Tiny) -> None:
    _tell(http, wrong_commit="e" * 40)
    for path in ("config.json", "model.safetensors", "nope"):
        head = http.head(_file(path, tiny.first), follow_redirects=False)
        assert head.headers["x-repo-commit"] == "e" * 40
    got = http.get(_file("config.json", tiny.first), follow_redirects=True)
    assert (got.content, got.headers["x-repo-commit"]) == (tiny.files["config.json"], "e" * 40)


def test_moved_revision(http: httpx.Client, tiny: Tiny) -> None:
    _tell(http, moved={"v1.0": tiny.second})
    assert http.get(f"/api/models/{MODEL_ID}/revision/v1.0").json()["sha"] == tiny.second
    assert http.get(f"/api/models/{MODEL_ID}/refs").json()["tags"][0]["targetCommit"] == tiny.second
    assert http.head(_file("config.json", "v1.0")).headers["x-repo-commit"] == tiny.second
    _tell(http, moved={"main": "d" * 40})
    assert http.get(f"/api/models/{MODEL_ID}").headers["x-error-code"] == "RevisionNotFound"


def test_too_many_requests_for_a_while(http: httpx.Client) -> None:
    _tell(http, status=429, status_times=2, retry_after_s=7)
    refused = http.head(_file("config.json"))
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert refused.headers["ratelimit"] == '"resolvers";r=0;t=7'
    assert http.get(f"/api/models/{MODEL_ID}").status_code == 200  # only resolve lies
    assert [http.head(_file("config.json")).status_code for _ in range(2)] == [429, 307]


def test_unavailable_everywhere(http: httpx.Client, hub: HfApi, tmp_path: Path) -> None:
    _tell(http, status=503, status_on="all")
    assert http.get(f"/api/models/{MODEL_ID}").headers["retry-after"] == "1"
    with pytest.raises(HfHubHTTPError, match="503"):
        hub.model_info(MODEL_ID)
    _tell(http, status=503, status_on="api")
    assert http.head(_file("config.json")).status_code == 307


def test_slow(http: httpx.Client) -> None:
    _tell(http, slow_s=0.3)
    begun = time.monotonic()
    http.head(_file("config.json"))
    assert time.monotonic() - begun >= 0.3


def test_endless_body_is_longer_than_the_file(http: httpx.Client, tiny: Tiny) -> None:
    _tell(http, endless=["model.safetensors"])
    head = http.head(_file("model.safetensors"))
    assert int(head.headers["x-linked-size"]) == len(tiny.files["model.safetensors"])
    read = 0
    with http.stream("GET", head.headers["location"]) as got:
        assert "content-length" not in got.headers
        for chunk in got.iter_bytes():
            read += len(chunk)
            if read > 3_000_000:
                break
    assert read > 3_000_000
