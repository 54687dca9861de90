"""The one description of every address of the inference server: GET /openapi.json, docs/inference-openapi.yaml.

    python -m inference.server.openapi > docs/inference-openapi.yaml

A test compares it with the routes, and the file with it.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

from inference.server.http import Request, Response, json_response

Json = dict[str, Any]


def obj(required: Json | None = None, optional: Json | None = None, **more: Any) -> Json:
    """A closed object."""
    properties = {**(required or {}), **(optional or {})}
    schema: Json = {"type": "object", "properties": properties, "additionalProperties": False, **more}
    if required:
        schema["required"] = [*required]
    return schema


def array(items: Json, **more: Any) -> Json:
    return {"type": "array", "items": items, **more}


def ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


STRING: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
WHOLE: Json = {"type": "integer"}
FLAG: Json = {"type": "boolean"}
TEXTS: Json = {"oneOf": [STRING, array(STRING, minItems=1)]}
TOKENS: Json = {"token_count": WHOLE, "truncated": FLAG}
ENTITY: Json = {"word": STRING, "start": WHOLE, "end": WHOLE}

SCHEMAS: dict[str, Json] = {
    "Error": obj(
        {"error": obj({"code": STRING, "message": STRING, "details": {"type": "object"}})},
        description="`code` is stable; `message` is for people and never holds an input.",
    ),
    "HubError": obj({"error": STRING, "error_type": STRING, "details": {"type": "object"}}),
    "TeiError": obj({"error": STRING, "error_type": STRING, "code": STRING, "details": {"type": "object"}}),
    "KServeError": obj({"error": STRING, "code": STRING, "details": {"type": "object"}}),
    "OpenAIError": obj(
        {
            "error": obj(
                {
                    "message": STRING,
                    "type": STRING,
                    "param": {"type": ["string", "null"]},
                    "code": STRING,
                    "details": {"type": "object"},
                }
            )
        }
    ),
    "Input": {"oneOf": [STRING, obj({"text": STRING}, {"text_pair": STRING})]},
    "PredictRequest": obj(
        {"inputs": {"oneOf": [ref("Input"), array(ref("Input"), minItems=1)]}},
        {
            "parameters": obj(
                optional={
                    "task": {"enum": ["classify", "rank", "tag", "embed", "similarity"]},
                    "truncate": {
                        **FLAG,
                        "default": True,
                        "description": "Cut what is too long, and say so; false refuses it.",
                    },
                    "top_k": {
                        **WHOLE,
                        "minimum": 1,
                        "maximum": 100,
                        "description": "Adds the best scores of a classifier.",
                    },
                    "function_to_apply": {"enum": ["softmax", "sigmoid"]},
                    "raw_scores": FLAG,
                    "aggregation_strategy": {"enum": ["none", "simple", "first", "average", "max"]},
                    "ignore_labels": array(STRING),
                    "normalize": FLAG,
                }
            )
        },
    ),
    "Prediction": obj(
        {"label": STRING, "confidence": NUMBER, **TOKENS},
        {"scores": array(obj({"label": STRING, "confidence": NUMBER}))},
    ),
    "PredictAnswer": obj(
        {
            "model_id": STRING,
            "commit_sha": {**STRING, "pattern": "^[0-9a-f]{40}$"},
            "channel": STRING,
            "variant": {**STRING, "description": "backend/precision/device that computed it"},
            "device": STRING,
            "latency_ms": NUMBER,
            "timings": obj({"tokenization_ms": NUMBER, "queue_ms": NUMBER, "inference_ms": NUMBER}),
            "request_id": STRING,
        },
        {
            "predictions": array(ref("Prediction")),
            "entities": array(
                obj({"entities": array(obj({"label": STRING, "confidence": NUMBER, **ENTITY})), **TOKENS})
            ),
            "embeddings": array(obj({"vector": array(NUMBER), **TOKENS})),
            "scores": array(obj({"score": NUMBER, **TOKENS})),
        },
    ),
    "LabelScore": obj({"label": STRING, "score": NUMBER}),
    "Model": obj(
        {
            "model_id": STRING,
            "channel": STRING,
            "commit_sha": {"type": ["string", "null"]},
            "wanted_commit_sha": STRING,
            "state": {"enum": ["ready", "loading", "failed", "waiting"]},
            "since": {**STRING, "format": "date-time"},
            "task": STRING,
            "labels": {"type": ["array", "null"], "items": STRING},
            "max_length": {"type": ["integer", "null"]},
            "device": {"type": ["string", "null"]},
            "variant": {"type": ["string", "null"]},
        }
    ),
    "Similarity": obj({"source_sentence": STRING, "sentences": array(STRING, minItems=1)}),
    "Tensor": obj(
        {"name": STRING, "datatype": STRING, "shape": array(WHOLE)},
        {"data": array({}), "parameters": {"type": "object"}},
    ),
}

_ERRORS = {
    401: "No token, or one that is not valid.",
    403: "The token lacks the scope infer.",
    404: "The caller's team is not served this model there.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    415: "The body is no plain JSON.",
    422: "The body is not understood; `code` and `message` say which field.",
    429: "Too much at once, or a quota is used up; Retry-After says when to come back.",
    500: "The model's answer was no answer (NaN or infinity).",
    503: "The model is loading, failing or being replaced.",
    504: "The answer was not ready before the deadline.",
}


def operation(
    tag: str,
    summary: str,
    answer: Json,
    body: Json | None = None,
    *,
    error: str = "Error",
    open_: bool = False,
) -> Json:
    """One operation; `open_` needs no token."""
    errors = {503: _ERRORS[503]} if open_ else _ERRORS
    shown: Json = {
        "tags": [tag],
        "summary": summary,
        "responses": {
            "200": {"description": "The answer.", "content": answer},
            **{
                str(status): {"description": words, "content": json_of(ref(error))}
                for status, words in errors.items()
            },
        },
    }
    if body is not None:
        shown["requestBody"] = {"required": True, "content": json_of(body)}
    if open_:
        shown["security"] = []
    return shown


def json_of(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}


PLAIN: Json = {"text/plain": {"schema": STRING}}
NOTHING: Json = {"text/plain": {"schema": {"type": "string", "maxLength": 0}}}
ANY: Json = {"type": "object"}
SCORES = array(NUMBER)
VECTORS = array(array(NUMBER))
LABELS = array(ref("LabelScore"))


def _own() -> Json:
    return {
        "/healthz": {"get": operation("replica", "The process lives.", json_of(ANY), open_=True)},
        "/readyz": {
            "get": operation("replica", "This replica should get traffic.", json_of(ANY), open_=True)
        },
        "/limits": {"get": operation("replica", "What one caller may ask for.", json_of(ANY), open_=True)},
        "/metrics": {"get": operation("replica", "Figures for Prometheus.", PLAIN, open_=True)},
        "/openapi.json": {"get": operation("replica", "This document.", json_of(ANY), open_=True)},
        "/v1/predict/{org}/{name}": {
            "post": operation("assay", "Ask a model.", json_of(ref("PredictAnswer")), ref("PredictRequest"))
        },
    }


def _openai() -> Json:
    embeddings = obj(
        {"model": STRING, "input": TEXTS},
        {"encoding_format": {"enum": ["float", "base64"]}, "dimensions": WHOLE, "user": STRING},
    )
    data = array(obj({"object": STRING, "index": WHOLE, "embedding": {"oneOf": [array(NUMBER), STRING]}}))
    usage = obj({"prompt_tokens": WHOLE, "total_tokens": WHOLE})
    answer = obj({"object": STRING, "data": data, "model": STRING, "usage": usage})
    entry = obj({"id": STRING, "object": STRING, "created": WHOLE, "owned_by": STRING})
    models = obj({"object": STRING, "data": array(entry), "models": array(ref("Model"))})
    return {
        "/v1/embeddings": {
            "post": operation(
                "openai", "Vectors, in OpenAI's words.", json_of(answer), embeddings, error="OpenAIError"
            )
        },
        "/v1/models": {"get": operation("openai", "What is served to your team.", json_of(models))},
    }


def _hub() -> Json:
    body = obj({"inputs": {}}, {"parameters": {"type": "object"}})
    body["additionalProperties"] = True
    entity = obj({"score": NUMBER, **ENTITY}, {"entity": STRING, "entity_group": STRING})
    answers = [array(LABELS), LABELS, array(entity), array(array(entity)), VECTORS, SCORES]
    return {
        "/hf/{org}/{name}": {
            "post": operation(
                "huggingface_hub",
                "What `InferenceClient(model=URL)` posts: classification, zero-shot, tokens, features, similarity.",
                json_of({"anyOf": answers}),
                body,
                error="HubError",
            )
        }
    }


def _tei() -> Json:
    cut = {"truncate": FLAG, "truncation_direction": STRING}

    def post(summary: str, answer: Json, body: Json) -> Json:
        return {"post": operation("tei", summary, json_of(answer), body, error="TeiError")}

    def get(summary: str, answer: Json) -> Json:
        return {"get": operation("tei", summary, answer, error="TeiError")}

    base = "/tei/{org}/{name}"
    pairs = {"oneOf": [STRING, array(STRING), array(array(STRING))]}
    ranked = array(obj({"index": WHOLE, "score": NUMBER}, {"text": STRING}))
    question = obj(
        {"query": STRING, "texts": array(STRING, minItems=1)},
        {**cut, "raw_scores": FLAG, "return_text": FLAG},
    )
    wanted = obj({"inputs": TEXTS}, {**cut, "normalize": FLAG, "dimensions": WHOLE, "prompt_name": STRING})
    return {
        f"{base}/predict": post(
            "Labels with scores, best first.",
            {"oneOf": [LABELS, array(LABELS)]},
            obj({"inputs": pairs}, {**cut, "raw_scores": FLAG}),
        ),
        f"{base}/embed": post("A vector for each text.", VECTORS, wanted),
        f"{base}/rerank": post("Texts by how well they answer a query.", ranked, question),
        f"{base}/similarity": post(
            "The cosine of each text to a source.",
            SCORES,
            obj({"inputs": ref("Similarity")}, {"parameters": obj(optional=cut)}),
        ),
        f"{base}/tokenize": post(
            "The token ids that the model would see.",
            array(array(obj({"id": WHOLE}))),
            obj({"inputs": TEXTS}, {"add_special_tokens": FLAG, "prompt_name": STRING}),
        ),
        f"{base}/info": get("What the model is.", json_of(ANY)),
        f"{base}/health": get("The model answers.", NOTHING),
        f"{base}/metrics": get("The model's figures for Prometheus.", PLAIN),
    }


def _kserve() -> Json:
    request = obj(
        {"inputs": array(ref("Tensor"))},
        {"id": STRING, "outputs": array(obj({"name": STRING}, {"parameters": ANY})), "parameters": ANY},
    )
    answer = obj(
        {"model_name": STRING, "model_version": STRING, "outputs": array(ref("Tensor"))},
        {"id": STRING, "parameters": ANY},
    )

    def get(summary: str, *, open_: bool = False) -> Json:
        return {"get": operation("kserve", summary, json_of(ANY), error="KServeError", open_=open_)}

    paths: Json = {
        "/v2": get("Name, version and extensions.", open_=True),
        "/v2/health/live": get("The process lives.", open_=True),
        "/v2/health/ready": get("This replica should get traffic.", open_=True),
        "/v2/repository/index": {
            "post": operation(
                "kserve", "What is served to your team.", json_of(array(ANY)), error="KServeError"
            )
        },
    }
    for version in ("", "/versions/{version}"):
        base = f"/v2/models/{{org}}/{{name}}{version}"
        paths[base] = get("The model's tensors.")
        paths[f"{base}/ready"] = get("The model answers.")
        paths[f"{base}/infer"] = {
            "post": operation("kserve", "One batch.", json_of(answer), request, error="KServeError")
        }
    return paths


_PARAMETERS: dict[str, Json] = {
    "org": {"description": "The organisation of the model id."},
    "name": {
        "description": "The model's name, with @channel or @commit_sha where another than production is meant."
    },
    "version": {"description": "A channel or a commit SHA."},
}


@lru_cache(maxsize=1)
def describe() -> Json:
    """The document, OpenAPI 3.1."""
    paths = {**_own(), **_openai(), **_hub(), **_tei(), **_kserve()}
    for path, item in paths.items():
        if names := [name for name in _PARAMETERS if f"{{{name}}}" in path]:
            item["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": STRING, **_PARAMETERS[name]}
                for name in names
            ]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Assay inference server",
            "version": "1",
            "description": (
                "Answers only from approved revisions. Every answer of a model carries X-Model-Revision (the commit SHA) and "
                "X-Request-Id; protocols without a field for it say in X-Truncated-Inputs how many inputs were cut."
            ),
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An Assay token with the scope infer.",
                }
            },
        },
    }


async def document(request: Request) -> Response:
    return json_response(describe())


def main() -> None:
    import yaml

    sys.stdout.write("# Written by `python -m inference.server.openapi`.\n")
    # Without aliases: readers of OpenAPI files stumble over them.
    yaml.Dumper.ignore_aliases = lambda *_: True  # type: ignore[method-assign]
    yaml.dump(describe(), sys.stdout, allow_unicode=True, sort_keys=False, width=120)


if __name__ == "__main__":
    main()
