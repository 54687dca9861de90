"""The dialects, spoken by the real client libraries against a real server (with the dummy backend)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from huggingface_hub import InferenceClient
from openai import AuthenticationError, NotFoundError, OpenAI
from openai import UnprocessableEntityError as OpenAIRefusal
from openapi_spec_validator import validate

from inference.server.app import ROUTES
from inference.server.openapi import describe
from inference.server.protocols.errors import protocol_of
from tests.server.control_plane import SHA, TOKEN, FakeControlPlane, dummy_files
from tests.server.running import Caller, bearer, eventually, inference_server, running

# tritonclient's geventhttpclient patches nothing by itself; it is imported late because it takes a second.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "acme/sentiment": ("text-classification", {}),
    "acme/tags": ("token-classification", {"id2label": {"0": "O", "1": "B-PER", "2": "I-PER"}}),
    "acme/vectors": ("feature-extraction", {"dummy_size": 6, "dummy_salt": 1}),
    "acme/nli": (
        "zero-shot-classification",
        {"id2label": {"0": "contradiction", "1": "neutral", "2": "entailment"}},
    ),
    "acme/ranker": ("text-ranking", {"id2label": {"0": "relevance"}}),
}
pytestmark = pytest.mark.enable_socket


@pytest.fixture(scope="module", params=[0, 2], ids=["one process", "web workers"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    control = FakeControlPlane()
    lines = []
    for model_id, (task, declared) in MODELS.items():
        config = dict(declared)
        control.add_revision("v1", dummy_files(config.pop("dummy_salt", 0), **config), model_id=model_id)
        lines.append(control.line("v1", model_id=model_id, task=task))
    control.add_revision("v2", dummy_files(1), model_id="acme/sentiment")
    lines.append(control.line("v2", channel="staging", model_id="acme/sentiment"))
    control.serve(*lines)
    with (
        running(control.app) as url,
        inference_server(url, tmp_path_factory.mktemp("cache"), web_workers=request.param) as caller,
    ):
        caller.wait_ready()
        eventually(
            lambda: caller.get("/readyz").json()["models"]["ready"] == len(lines), "not every model loaded"
        )
        yield caller


def url_of(server: Caller, path: str) -> str:
    return f"{str(server.http.base_url).rstrip('/')}{path}"


def post(server: Caller, path: str, body: Any, token: str | None = TOKEN) -> httpx.Response:
    return server.http.post(path, json=body, headers=bearer(token))


# huggingface_hub.InferenceClient


@pytest.fixture
def hub(server: Caller) -> Any:
    def client(model: str) -> InferenceClient:
        return InferenceClient(model=url_of(server, f"/hf/{model}"), token=TOKEN)

    return client


def test_inference_client_classifies(hub: Any, server: Caller) -> None:
    found = hub("acme/sentiment").text_classification("a good product", top_k=2)
    ours = server.predict("a good product", model="acme/sentiment", parameters={"top_k": 2}).json()
    assert [(line.label, line.score) for line in found] == [
        (line["label"], line["confidence"]) for line in ours["predictions"][0]["scores"]
    ]


def test_inference_client_reads_another_channel(hub: Any, server: Caller) -> None:
    answer = post(server, "/hf/acme/sentiment@staging", {"inputs": "a good product"})
    assert answer.headers["X-Model-Revision"] == SHA["v2"]
    assert hub("acme/sentiment@staging").text_classification("a good product")


def test_inference_client_tags_tokens(hub: Any) -> None:
    text = "Anna met Binh in Hue yesterday"
    found = hub("acme/tags").token_classification(
        text, aggregation_strategy="none", ignore_labels=["nothing"]
    )
    assert [text[e.start : e.end] for e in found] == text.split()
    assert {e.entity for e in found} <= {"O", "B-PER", "I-PER"}
    grouped = hub("acme/tags").token_classification(text, aggregation_strategy="simple")
    assert all(e.entity_group for e in grouped)


def test_inference_client_embeds_and_compares(hub: Any) -> None:
    client = hub("acme/vectors")
    vector = client.feature_extraction("one more text", normalize=True)
    assert vector.shape == (1, 6)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    scores = client.sentence_similarity("one more text", ["one more text", "a bad delivery"])
    assert scores[0] == pytest.approx(1, abs=1e-5) and len(scores) == 2


def test_inference_client_zero_shot(hub: Any) -> None:
    labels = ["delivery", "price", "quality"]
    one = hub("acme/nli").zero_shot_classification("It came late.", labels)
    assert {line.label for line in one} == set(labels)
    assert sum(line.score for line in one) == pytest.approx(1, abs=1e-4)
    assert [line.score for line in one] == sorted((line.score for line in one), reverse=True)
    many = hub("acme/nli").zero_shot_classification("It came late.", labels, multi_label=True)
    assert all(0 <= line.score <= 1 for line in many)


def test_zero_shot_needs_a_model_of_inference(server: Caller) -> None:
    body = {"inputs": "It came late.", "parameters": {"candidate_labels": ["a", "b"]}}
    answer = post(server, "/hf/acme/sentiment", body)
    assert (answer.status_code, answer.json()["error_type"]) == (422, "wrong_task")


# Text Embeddings Inference


def test_tei_predict_takes_one_a_pair_and_a_batch(server: Caller) -> None:
    one = post(server, "/tei/acme/sentiment/predict", {"inputs": "good"}).json()
    assert {line["label"] for line in one} == {"negative", "positive"}
    pair = post(server, "/tei/acme/sentiment/predict", {"inputs": ["good", "bad"]}).json()
    assert pair[0].keys() == {"label", "score"}
    batch = post(server, "/tei/acme/sentiment/predict", {"inputs": [["good"], ["good", "bad"]]}).json()
    assert batch == [one, pair]


def test_tei_embed_and_its_shorter_vectors(server: Caller) -> None:
    whole = post(server, "/tei/acme/vectors/embed", {"inputs": ["good", "bad"]}).json()
    assert np.array(whole).shape == (2, 6)
    short = post(server, "/tei/acme/vectors/embed", {"inputs": "good", "dimensions": 3}).json()
    assert np.linalg.norm(short[0]) == pytest.approx(1, abs=1e-5) and len(short[0]) == 3
    wanted = np.array(whole[0][:3]) / np.linalg.norm(whole[0][:3])
    assert short[0] == pytest.approx(wanted.tolist(), abs=1e-5)


def test_tei_rerank_similarity_tokenize_info_health_metrics(server: Caller) -> None:
    texts = ["a very good one", "bad", "neither"]
    ranked = post(
        server, "/tei/acme/ranker/rerank", {"query": "which?", "texts": texts, "return_text": True}
    ).json()
    assert sorted(line["index"] for line in ranked) == [0, 1, 2]
    assert all(texts[line["index"]] == line["text"] for line in ranked)
    assert [line["score"] for line in ranked] == sorted((line["score"] for line in ranked), reverse=True)
    inputs = {"source_sentence": "good", "sentences": ["good", "bad"]}
    assert post(server, "/tei/acme/vectors/similarity", {"inputs": inputs}).json()[0] == pytest.approx(
        1, abs=1e-5
    )
    tokens = post(server, "/tei/acme/vectors/tokenize", {"inputs": "one two"}).json()
    assert len(tokens) == 1 and len(tokens[0]) == 4
    info = server.get("/tei/acme/vectors/info", TOKEN).json()
    assert (info["model_id"], info["model_sha"]) == ("acme/vectors", SHA["v1"])
    assert info["max_client_batch_size"] == 32 and "embedding" in info["model_type"]
    assert server.get("/tei/acme/vectors/health", TOKEN).status_code == 200
    figures = server.get("/tei/acme/vectors/metrics", TOKEN).text
    assert "assay_inputs_total" in figures and "assay_inference_ms_bucket" in figures


# OpenAI


@pytest.fixture
def openai(server: Caller) -> Iterator[OpenAI]:
    with OpenAI(base_url=url_of(server, "/v1"), api_key=TOKEN, max_retries=0) as client:
        yield client


def test_openai_embeddings_in_both_encodings(openai: OpenAI, server: Caller) -> None:
    coded = openai.embeddings.create(model="acme/vectors", input=["good", "bad"])
    plain = openai.embeddings.create(
        model="acme/vectors", input="good", encoding_format="float", dimensions=4
    )
    assert [len(line.embedding) for line in coded.data] == [6, 6]
    assert coded.model == f"acme/vectors@{SHA['v1']}"
    assert coded.usage.total_tokens == 6
    assert len(plain.data[0].embedding) == 4
    raw = post(
        server, "/v1/embeddings", {"model": "acme/vectors", "input": "good", "encoding_format": "base64"}
    ).json()
    unpacked = np.frombuffer(base64.b64decode(raw["data"][0]["embedding"]), "<f4")
    assert unpacked.tolist() == pytest.approx(coded.data[0].embedding, abs=1e-6)


def test_openai_lists_what_the_team_is_served(openai: OpenAI) -> None:
    assert {model.id for model in openai.models.list()} >= {
        "acme/vectors@production",
        "acme/sentiment@staging",
    }


def test_openai_refusals_are_its_own_exceptions(openai: OpenAI, server: Caller) -> None:
    with pytest.raises(NotFoundError) as unknown:
        openai.embeddings.create(model="acme/nobody", input="good")
    assert unknown.value.code == "not_served"
    with pytest.raises(OpenAIRefusal) as long:
        openai.embeddings.create(model="acme/vectors", input="word " * 100)
    assert long.value.code == "input_too_long"
    with (
        OpenAI(base_url=url_of(server, "/v1"), api_key="wrong", max_retries=0) as stranger,
        pytest.raises(AuthenticationError),
    ):
        stranger.models.list()


# KServe


@pytest.fixture
def triton(server: Caller) -> Iterator[Any]:
    import tritonclient.http as triton_http

    client = triton_http.InferenceServerClient(url_of(server, "").removeprefix("http://"))
    yield client, triton_http
    client.close()


@pytest.mark.parametrize("binary", [True, False])
def test_triton_client_infers(triton: Any, server: Caller, binary: bool) -> None:
    client, triton_http = triton
    headers = bearer(TOKEN)
    texts = np.array(["a good product", "tệ lắm"], dtype=object)
    tensor = triton_http.InferInput("text", [2], "BYTES")
    tensor.set_data_from_numpy(texts, binary_data=binary)
    outputs = [
        triton_http.InferRequestedOutput(name, binary_data=binary) for name in ("label", "score", "scores")
    ]
    answer = client.infer("acme/sentiment", [tensor], outputs=outputs, headers=headers, request_id="r1")
    ours = server.predict(texts.tolist(), model="acme/sentiment").json()["predictions"]
    labels = [x.decode() if isinstance(x, bytes) else x for x in answer.as_numpy("label")]
    assert labels == [line["label"] for line in ours]
    assert answer.as_numpy("scores").shape == (2, 2)
    assert answer.get_response()["model_version"] == SHA["v1"]


def test_triton_client_reads_metadata_versions_and_readiness(triton: Any) -> None:
    client, _ = triton
    headers = bearer(TOKEN)
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("acme/vectors", headers=headers)
    metadata = client.get_model_metadata("acme/sentiment", headers=headers)
    assert metadata["versions"] == ["production", "staging", SHA["v1"]]
    staged = client.get_model_metadata("acme/sentiment", model_version="staging", headers=headers)
    assert staged["versions"][-1] == SHA["v2"]
    assert metadata["outputs"][0]["name"] == "label"
    index = client.get_model_repository_index(headers=headers)
    assert {"acme/sentiment", "acme/tags"} <= {line["name"] for line in index}


# Bad input: the same typed answer in each dialect's shape

BAD = [
    ("/v1/predict/acme/sentiment", {"inputs": []}, 422, "no_inputs"),
    ("/v1/predict/acme/sentiment", {"inputs": ["x"] * 33}, 422, "too_many_inputs"),
    ("/v1/predict/acme/sentiment", {"inputs": "x", "parameters": {"aggregation_strategy": "none"}}, 422, "unknown_field"),
    ("/v1/predict/acme/tags", {"inputs": "x", "parameters": {"aggregation_strategy": "most"}}, 422, "bad_aggregation_strategy"),
    ("/v1/predict/acme/sentiment", {"inputs": {"text": "x", "text_pair": 3}}, 422, "bad_pair"),
    ("/v1/predict/acme/vectors", {"inputs": "x", "parameters": {"task": "similarity"}}, 422, "too_few_inputs"),
    ("/v1/predict/acme/sentiment", {"inputs": "x", "parameters": {"top_k": True}}, 422, "bad_top_k"),
    ("/hf/acme/sentiment", {"inputs": ""}, 422, "blank_input"),
    ("/hf/acme/sentiment", {"inputs": "x", "parameters": {"mystery": 1}}, 422, "unknown_field"),
    ("/hf/acme/sentiment", ["x"], 422, "not_an_object"),
    ("/hf/acme/sentiment", {}, 422, "missing_field"),
    ("/hf/acme/nli", {"inputs": "x", "parameters": {"candidate_labels": []}}, 422, "too_many_inputs"),
    ("/hf/acme/nli", {"inputs": "x", "parameters": {"candidate_labels": ["a"], "hypothesis_template": "no"}}, 422,
     "bad_hypothesis_template"),
    ("/hf/acme/vectors", {"inputs": "x", "parameters": {"prompt_name": "query"}}, 422, "unsupported_field"),
    ("/hf/acme/vectors", {"inputs": {"source_sentence": "x"}}, 422, "missing_field"),
    ("/tei/acme/sentiment/embed", {"inputs": "x"}, 422, "wrong_task"),
    ("/tei/acme/vectors/embed", {"inputs": "x", "dimensions": 7}, 422, "bad_dimensions"),
    ("/tei/acme/vectors/embed", {"inputs": "x", "dimensions": 0}, 422, "bad_dimensions"),
    ("/tei/acme/vectors/embed", {"inputs": "word " * 50, "truncate": False}, 422, "input_too_long"),
    ("/tei/acme/ranker/rerank", {"query": "x", "texts": []}, 422, "too_many_inputs"),
    ("/tei/acme/sentiment/predict", {"inputs": [["a", "b", "c"]]}, 422, "bad_pair"),
    ("/tei/acme/vectors/tokenize", {"inputs": "x", "add_special_tokens": False}, 422, "unsupported_field"),
    ("/tei/acme/nobody/embed", {"inputs": "x"}, 404, "not_served"),
    ("/v1/embeddings", {"model": "vectors", "input": "x"}, 404, "not_served"),
    ("/v1/embeddings", {"model": "acme/sentiment", "input": "x"}, 422, "wrong_task"),
    ("/v1/embeddings", {"model": "acme/vectors", "input": [1, 2]}, 422, "not_a_string"),
    ("/v1/embeddings", {"model": "acme/vectors", "input": "x", "encoding_format": "hex"}, 422, "bad_encoding_format"),
    ("/v2/models/acme/sentiment/infer", {"inputs": []}, 422, "missing_field"),
    ("/v2/models/acme/sentiment/infer", {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}, 422,
     "unknown_tensor"),
    ("/v2/models/acme/sentiment/infer", {"inputs": [{"name": "text", "datatype": "FP32", "shape": [1], "data": [1]}]}, 422,
     "bad_datatype"),
    ("/v2/models/acme/sentiment/infer", {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [2], "data": ["a"]}]}, 422,
     "bad_shape"),
    ("/v2/models/acme/sentiment/versions/nowhere/infer", {"inputs": []}, 404, "not_served"),
]  # fmt: skip


def said(path: str, answer: httpx.Response) -> str:
    body = answer.json()
    match protocol_of(path):
        case "hf":
            return str(body["error_type"])
        case "tei" | "kserve":
            assert isinstance(body["error"], str)
            return str(body["code"])
        case _:
            return str(body["error"]["code"])


@pytest.mark.parametrize(("path", "body", "status", "code"), BAD)
def test_bad_input_is_a_typed_answer(server: Caller, path: str, body: Any, status: int, code: str) -> None:
    answer = post(server, path, body)
    assert (answer.status_code, said(path, answer)) == (status, code)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        "/hf/acme/sentiment",
        "/tei/acme/sentiment/predict",
        "/v1/embeddings",
        "/v2/models/acme/sentiment/infer",
    ],
)
@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b'{"inputs": NaN}', 422, "invalid_number"),
        (b"{", 422, "invalid_json"),
        (b"[" * 20_000, 422, "json_too_deep"),
        (b'{"a": 1, "a": 2}', 422, "duplicate_key"),
        (b"\xff\xfe", 422, "invalid_json"),
        (b'"' + b"x" * 3_000_000 + b'"', 413, "body_too_large"),
    ],
)
def test_bodies_that_are_traps(server: Caller, path: str, content: bytes, status: int, code: str) -> None:
    headers = {"Content-Type": "application/json", **bearer(TOKEN)}
    answer = server.http.post(path, content=content, headers=headers)
    assert (answer.status_code, said(path, answer)) == (status, code)


def test_a_binary_tensor_that_ends_too_early(server: Caller) -> None:
    head = json.dumps(
        {
            "inputs": [
                {"name": "text", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}}
            ]
        }
    ).encode()
    for tail, code in (
        (b"\x05\x00\x00\x00ab", "bad_binary_tensor"),
        (b"\x02\x00\x00\x00\xff\xff", "bad_unicode"),
    ):
        headers = {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(head)),
            **bearer(TOKEN),
        }
        answer = server.http.post("/v2/models/acme/sentiment/infer", content=head + tail, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (422, code)


# Who may knock

OPEN = {
    "/healthz",
    "/readyz",
    "/limits",
    "/metrics",
    "/openapi.json",
    "/v2",
    "/v2/health/live",
    "/v2/health/ready",
}


def routes() -> list[tuple[str, str]]:
    return [(route.method, route.path) for route in ROUTES.all]


@pytest.mark.parametrize(("method", "path"), routes())
def test_every_address_but_the_open_ones_asks_who_is_calling(server: Caller, method: str, path: str) -> None:
    filled = path.format(org="acme", name="sentiment", version="production")
    body = {"model": "acme/vectors"} if method == "POST" else None
    for token, status in ((None, 401), ("no-scope", 403)):
        answer = server.http.request(method, filled, json=body, headers=bearer(token))
        assert answer.status_code == (200 if path in OPEN else status), (path, token)
    other = server.http.request(method, filled, json=body, headers=bearer("other-team"))
    if "{" in path or path == "/v1/embeddings":
        assert other.status_code == 404


def test_the_document_names_every_address_and_no_other() -> None:
    document = describe()
    validate(document)
    documented = {
        (method.upper(), path)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert documented == set(routes())


def test_the_document_in_docs_is_this_one() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "inference-openapi.yaml").read_text(
        encoding="utf-8"
    )
    assert yaml.safe_load(text) == json.loads(json.dumps(describe()))


def test_metrics_name_no_model(server: Caller) -> None:
    post(server, "/hf/acme/sentiment", {"inputs": "good"})
    figures = server.get("/metrics").text
    assert 'assay_requests_total{protocol="hf",status="200"}' in figures
    assert "acme" not in figures
