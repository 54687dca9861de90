"""The wire: statuses, headers and JSON as the real Hub sends them."""

import hashlib
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.sample_hub.conftest import MODEL_ID, Tiny
from tests.sample_hub.running import running_hub
from tests.sample_hub.store import INITIAL_FILES

TOKEN = {"Authorization": "Bearer sample-token"}


def test_small_file_redirects_to_the_resolve_cache(http: httpx.Client, tiny: Tiny) -> None:
    head = http.head(f"/{MODEL_ID}/resolve/main/config.json")
    oid = tiny.store.entry(MODEL_ID, tiny.second, "config.json").oid
    assert head.status_code == 307
    assert head.headers["location"].startswith(
        f"/api/resolve-cache/models/{MODEL_ID}/{tiny.second}/config.json?"
    )
    assert head.headers["x-repo-commit"] == tiny.second
    assert head.headers["x-linked-etag"] == f'"{oid}"'
    assert "x-linked-size" not in head.headers  # and Content-Length is that of the redirect itself
    got = http.get(head.headers["location"])
    assert (got.status_code, got.content) == (200, tiny.files["config.json"])
    assert got.headers["etag"] == f'"{oid}"'
    assert got.headers["x-repo-commit"] == tiny.second
    assert got.headers["content-length"] == str(len(tiny.files["config.json"]))


def test_lfs_file_redirects_to_another_origin(http: httpx.Client, url: str, tiny: Tiny) -> None:
    content = tiny.files["model.safetensors"]
    sha256 = hashlib.sha256(content).hexdigest()
    head = http.head(f"/{MODEL_ID}/resolve/v1.0/model.safetensors")
    assert head.status_code == 302
    assert head.headers["x-repo-commit"] == tiny.first
    assert head.headers["x-linked-etag"] == f'"{sha256}"'
    assert head.headers["x-linked-size"] == str(len(content))
    assert not [name for name in head.headers if "xet" in name] and "link" not in head.headers
    cdn, here = urlsplit(head.headers["location"]), urlsplit(url)
    assert (cdn.hostname, cdn.port) == ("localhost", here.port)
    assert cdn.path.endswith(f"/{sha256}")
    got = http.get(f"{cdn.path}?{cdn.query}")
    assert (got.status_code, got.content) == (200, content)
    assert http.get(f"/cdn/x/{'0' * 64}").status_code == 403


@pytest.mark.parametrize("depth", [900, 3_000, 100_000])
@pytest.mark.parametrize("path", ["config.json", "tokenizer_config.json", "README.md"])
def test_file_that_is_nested_too_deep_does_not_break_the_answer_about_its_model(
    http: httpx.Client, tiny: Tiny, path: str, depth: int
) -> None:
    deep = "[" * depth + "]" * depth
    content = (
        f"---\nlicense: {deep}\n---\n"
        if path == "README.md"
        else f'{{"architectures": {deep}, "pad_token": {deep}}}'
    )
    sha = tiny.store.commit(MODEL_ID, {path: content.encode()}, "Deep", None, tiny.second)
    answer = http.get(f"/api/models/{MODEL_ID}/revision/{sha}")
    assert answer.status_code == 200 and answer.json()["sha"] == sha


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=16000-", 16000, None),
        ("bytes=-7", -7, None),
        ("bytes=16000-999999", 16000, None),
    ],
)
@pytest.mark.parametrize("path", ["onnx/model.onnx", "long.txt"])
def test_range(http: httpx.Client, tiny: Tiny, path: str, asked: str, start: int, end: int | None) -> None:
    text = b"0123456789abcdef" * 1024
    tiny.store.commit(MODEL_ID, {"long.txt": text}, "A long text")
    content = text if path == "long.txt" else tiny.files[path]
    got = http.get(f"/{MODEL_ID}/resolve/main/{path}", headers={"Range": asked}, follow_redirects=True)
    assert got.status_code == 206
    assert got.content == content[start:end]
    first = start % len(content)
    assert got.headers["content-range"] == f"bytes {first}-{first + len(got.content) - 1}/{len(content)}"


def test_range_past_the_end_is_refused(http: httpx.Client) -> None:
    path = f"/{MODEL_ID}/resolve/main/onnx/model.onnx"
    got = http.get(path, headers={"Range": "bytes=16384-"}, follow_redirects=True)
    assert (got.status_code, got.headers["content-range"]) == (416, "bytes */16384")


def test_path_with_spaces_and_accents(http: httpx.Client, tiny: Tiny) -> None:
    tiny.store.commit(MODEL_ID, {"thư mục/tệp một.txt": b"x", "thư mục/lớn.safetensors": b"y"}, "Names")
    for name, content in (("tệp một.txt", b"x"), ("lớn.safetensors", b"y")):
        got = http.get(f"/{MODEL_ID}/resolve/main/thư mục/{name}", follow_redirects=True)
        assert (got.status_code, got.content) == (200, content)
    listed = http.get(f"/api/models/{MODEL_ID}/tree/main/thư mục").json()
    assert [row["path"] for row in listed] == ["thư mục/lớn.safetensors", "thư mục/tệp một.txt"]


@pytest.mark.parametrize(
    ("path", "status", "code", "message"),
    [
        (f"/{MODEL_ID}/resolve/nope/config.json", 404, "RevisionNotFound", "Invalid rev id: nope"),
        (f"/{MODEL_ID}/resolve/main/nope.json", 404, "EntryNotFound", "Entry not found"),
        (f"/{MODEL_ID}/resolve/main/onnx", 404, "EntryNotFound", "Entry not found"),
        (f"/api/models/{MODEL_ID}/revision/nope", 404, "RevisionNotFound", "Invalid rev id: nope"),
        (f"/api/models/{MODEL_ID}/revision/main~1", 404, "RevisionNotFound", "Invalid rev id: main~1"),
        (f"/api/models/{MODEL_ID}/tree/main/no", 404, "EntryNotFound", 'no does not exist on "main"'),
        (f"/api/models/{MODEL_ID}/commits/nope", 404, "RevisionNotFound", "Invalid rev id: nope"),
        ("/api/models/acme/none", 401, "RepoNotFound", "Invalid username or password."),
        ("/acme/none/resolve/main/x", 401, "RepoNotFound", "Invalid username or password."),
        ("/api/whoami-v2", 401, None, "Invalid username or password."),
    ],
)
def test_refusals(http: httpx.Client, path: str, status: int, code: str | None, message: str) -> None:
    got = http.get(path)
    headers = got.headers.get("x-error-code"), got.headers["x-error-message"]
    assert (got.status_code, headers) == (status, (code, message))
    assert message in (got.text, got.json()["error"] if got.text.startswith("{") else "")


def test_missing_file_still_names_the_commit(http: httpx.Client, tiny: Tiny) -> None:
    assert http.head(f"/{MODEL_ID}/resolve/main/nope").headers["x-repo-commit"] == tiny.second


def test_unknown_model_with_a_token_is_404(http: httpx.Client) -> None:
    got = http.get("/api/models/acme/none", headers=TOKEN)
    assert (got.status_code, got.headers["x-error-code"]) == (404, "RepoNotFound")


def test_bare_401_has_no_error_code(tiny: Tiny) -> None:
    with running_hub(tiny.store.root, bare_401=True) as url:
        got = httpx.get(f"{url}/api/models/acme/none", trust_env=False)
    assert got.status_code == 401 and "x-error-code" not in got.headers


def test_tokens(tiny: Tiny) -> None:
    with (
        running_hub(tiny.store.root, tokens={"good": "reader"}) as url,
        httpx.Client(base_url=url, trust_env=False) as http,
    ):
        assert http.get("/api/whoami-v2", headers={"Authorization": "Bearer good"}).json()["name"] == "reader"
        got = http.get(f"/api/models/{MODEL_ID}", headers={"Authorization": "Bearer bad"})
        assert (got.status_code, got.headers["x-error-message"]) == (
            401,
            "Invalid credentials in Authorization header",
        )


def test_private_model_hides_from_strangers(http: httpx.Client, tiny: Tiny) -> None:
    tiny.store.set_meta(MODEL_ID, private=True)
    assert http.get(f"/api/models/{MODEL_ID}").status_code == 401
    assert http.get("/api/models").json() == []
    assert http.get(f"/api/models/{MODEL_ID}", headers=TOKEN).json()["private"] is True


def test_gated_and_disabled_models_refuse_files(http: httpx.Client, tiny: Tiny) -> None:
    path = f"/{MODEL_ID}/resolve/main/config.json"
    tiny.store.set_meta(MODEL_ID, gated="manual")
    assert http.get(path).headers["x-error-code"] == "GatedRepo"
    assert http.get(path, headers=TOKEN).status_code == 307
    assert http.get(f"/api/models/{MODEL_ID}").json()["gated"] == "manual"
    tiny.store.set_meta(MODEL_ID, disabled=True)
    assert http.get(path, headers=TOKEN).status_code == 403


def test_model_info(http: httpx.Client, tiny: Tiny) -> None:
    info: dict[str, Any] = http.get(f"/api/models/{MODEL_ID}").json()
    assert info["siblings"][0] == {"rfilename": ".gitattributes"}
    siblings = info.pop("siblings")
    assert {s["rfilename"] for s in siblings} == tiny.files.keys() | {".gitattributes"}
    assert info == {
        "_id": tiny.store.meta(MODEL_ID).internal_id,
        "id": MODEL_ID,
        "modelId": MODEL_ID,
        "author": "acme",
        "sha": tiny.second,
        "createdAt": "2026-09-01T08:00:00.000Z",
        "lastModified": "2026-09-01T10:00:00.000Z",
        "private": False,
        "gated": False,
        "disabled": False,
        "downloads": 0,
        "likes": 0,
        "tags": [
            "transformers",
            "safetensors",
            "bert",
            "text-classification",
            "vi",
            "en",
            "license:apache-2.0",
            "region:us",
        ],
        "pipeline_tag": "text-classification",
        "library_name": "transformers",
        "cardData": {
            "license": "apache-2.0",
            "language": ["vi", "en"],
            "pipeline_tag": "text-classification",
            "library_name": "transformers",
        },
        "model-index": None,
        "config": {
            "architectures": ["BertForSequenceClassification"],
            "model_type": "bert",
            "tokenizer_config": {"pad_token": "[PAD]", "unk_token": "[UNK]"},
        },
        "spaces": [],
        "safetensors": {"parameters": {"F32": 4}, "total": 4},
        "usedStorage": sum(map(len, (tiny.files | INITIAL_FILES).values())),
    }
    assert http.get(f"/api/models/{MODEL_ID}/revision/refs%2Fpr%2F1").json()["sha"] == tiny.first
    assert http.get(f"/api/models/{MODEL_ID}/revision/{tiny.first[:8]}").json()["sha"] == tiny.first


def test_card_that_is_no_yaml_gives_no_card_data(http: httpx.Client, tiny: Tiny) -> None:
    for card in (
        b"# No front matter",
        b"---\na: [1\n---\n",
        b"---\n- a list\n---\n",
        b"---\nnever closed: yes\n",
    ):
        tiny.store.commit(MODEL_ID, {"README.md": card}, "Break the card")
        assert http.get(f"/api/models/{MODEL_ID}").json()["cardData"] is None
    tiny.store.commit(MODEL_ID, {"README.md": b"---\nreleased: 2026-09-01\n---\n"}, "A date")
    assert http.get(f"/api/models/{MODEL_ID}").json()["cardData"] == {"released": "2026-09-01"}


def test_security_status(http: httpx.Client, tiny: Tiny) -> None:
    tiny.store.set_meta(MODEL_ID, security={"onnx/model.onnx": "unsafe"})
    info = http.get(f"/api/models/{MODEL_ID}?securityStatus=true").json()
    assert info["securityRepoStatus"]["filesWithIssues"] == [{"path": "onnx/model.onnx", "level": "unsafe"}]
    rows = http.get(f"/api/models/{MODEL_ID}/tree/main?recursive=true&expand=true").json()
    status = {row["path"]: row["securityFileStatus"]["status"] for row in rows if row["type"] == "file"}
    assert status["onnx/model.onnx"] == "unsafe" and status["config.json"] == "safe"


def test_tree_pages_end(tiny: Tiny) -> None:
    with running_hub(tiny.store.root, tree_page=3) as url, httpx.Client(trust_env=False) as http:
        pages, link = [], f"{url}/api/models/{MODEL_ID}/tree/main?recursive=true"
        while link:
            page = http.get(link)
            pages.append([row["path"] for row in page.json()])
            link = page.links.get("next", {}).get("url", "")
    assert [len(page) for page in pages] == [3, 3, 3, 1]
    assert {path for page in pages for path in page} == tiny.files.keys() | {
        ".gitattributes",
        "onnx",
        "onnx/deep",
    }


def test_xet_is_shown_only_when_asked_for(tiny: Tiny) -> None:
    with running_hub(tiny.store.root, xet=True) as url, httpx.Client(base_url=url, trust_env=False) as http:
        head = http.head(f"/{MODEL_ID}/resolve/main/model.safetensors")
        assert len(head.headers["x-xet-hash"]) == 64 and "xet-auth" in head.headers["link"]
        rows = http.get(f"/api/models/{MODEL_ID}/tree/main").json()
        assert [row["path"] for row in rows if "xetHash" in row] == ["model.safetensors"]


def test_requests_are_remembered_without_tokens(http: httpx.Client) -> None:
    http.get(f"/api/models/{MODEL_ID}?blobs=true", headers=TOKEN)
    http.head(f"/{MODEL_ID}/resolve/main/x%2Fy")
    assert http.get("/_requests").json() == [
        {"method": "GET", "path": f"/api/models/{MODEL_ID}?blobs=true", "token": True},
        {"method": "HEAD", "path": f"/{MODEL_ID}/resolve/main/x%2Fy", "token": False},
    ]
    assert http.delete("/_requests").json() == []
