"""The Open Inference Protocol (KServe v2): /v2/models/{org}/{name}[/versions/{selector}]/...

A version is a channel or a commit SHA. Input tensors: `text` (BYTES, [n]) and for pairs `text_pair`. Output tensors: `label`,
`score` and `scores` of a classifier, `embedding` of an embedding model, `entities` (one JSON list a text) of a token
classifier. Triton's binary extension is read; answers are JSON, which its clients read as well.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from inference.engine import Answer, Classify, Embed, Input, Prediction, Tag
from inference.server.body import parse_json
from inference.server.errors import ApiError
from inference.server.http import Request, Response, Route, json_response
from inference.server.protocols.answers import entities_of, head_of, headers_of, vector_of
from inference.server.protocols.fields import Fields, bad
from inference.server.serving import Turn, caller, serving
from inference.server.state import ServerState

_LENGTH = b"inference-header-content-length"
_TRITON = "application/vnd.sagemaker-triton.binary+json"
_ALL = 100


async def server(request: Request) -> Response:
    return json_response({"name": "assay", "version": "1", "extensions": ["binary_tensor_data"]})


async def live(request: Request) -> Response:
    return json_response({"live": True})


async def ready(request: Request) -> Response:
    state: ServerState = request.state
    ok = state.slots.ready and not state.draining
    return json_response({"ready": ok}, status=200 if ok else 503)


async def model_ready(request: Request) -> Response:
    """200 once the caller's model answers."""
    async with _turn(request) as turn:
        name = turn.model.key.model_id
        return json_response({"name": name, "ready": turn.model.engine.alive}, headers=turn.headers)


async def metadata(request: Request) -> Response:
    """Names, types and shapes of the tensors."""
    async with _turn(request) as turn:
        engine = turn.model.engine
        inputs = [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
        if engine.head.kind == "classify":
            inputs.append({"name": "text_pair", "datatype": "BYTES", "shape": [-1]})
        versions = [
            slot.served.channel
            for slot in turn.state.slots.team_slots(turn.grant.team)
            if slot.served.model_id == turn.model.key.model_id
        ]
        return json_response(
            {
                "name": turn.model.key.model_id,
                "versions": [*versions, turn.model.key.commit_sha],
                "platform": str(engine.variant),
                "inputs": inputs,
                "outputs": [
                    {"name": name, "datatype": kind, "shape": [-1, *shape]}
                    for name, kind, shape in _outputs(turn)
                ],
            },
            headers=turn.headers,
        )


async def infer(request: Request) -> Response:
    """One batch."""
    async with _turn(request) as turn:
        raw = await turn.read_bytes(
            b"application/octet-stream", b"application/vnd.sagemaker-triton.binary+json"
        )
        body, binary = _split(raw, request.header(_LENGTH) or None)
        fields = Fields(parse_json(body), "The body", {"id", "inputs", "outputs", "parameters"})
        parameters = fields.get("parameters") or {}
        words = Fields(parameters, "parameters", {"truncate", "binary_data_output"})
        tensors = _tensors(fields.need("inputs"), binary)
        wanted = _wanted(fields.get("outputs"), [name for name, _, _ in _outputs(turn)])
        answer = await turn.ask(
            _pairs(tensors), _OPTIONS[head_of(turn)], truncate=words.flag("truncate", False)
        )
        outputs = [tensor for tensor in _answer_tensors(turn, answer) if tensor["name"] in wanted]
        return json_response(
            {
                "model_name": turn.model.key.model_id,
                "model_version": turn.model.key.commit_sha,
                **({"id": str(fields.get("id"))} if "id" in fields else {}),
                "parameters": {"channel": turn.slot.served.channel, "variant": str(answer.variant)},
                "outputs": outputs,
            },
            headers=headers_of(turn, answer),
        )


_OPTIONS = {"classify": Classify(_ALL), "tag": Tag(), "embed": Embed()}


def _outputs(turn: Turn) -> list[tuple[str, str, list[int]]]:
    size = turn.model.engine.head.size
    tensors: dict[str, list[tuple[str, str, list[int]]]] = {
        "classify": [("label", "BYTES", []), ("score", "FP32", []), ("scores", "FP32", [size])],
        "tag": [("entities", "BYTES", [])],
        "embed": [("embedding", "FP32", [size])],
    }
    return tensors[head_of(turn)]


def _answer_tensors(turn: Turn, answer: Answer) -> list[dict[str, Any]]:
    results, rows = answer.results, len(answer.results)
    data: dict[str, list[Any]] = {}
    match head_of(turn):
        case "classify":
            predictions = [r for r in results if isinstance(r, Prediction)]
            data["label"] = [p.label for p in predictions]
            data["score"] = [p.confidence for p in predictions]
            by_label = [{s.label: s.confidence for s in p.scores or ()} for p in predictions]
            data["scores"] = [
                scores.get(label, 0.0) for scores in by_label for label in turn.model.engine.labels
            ]
        case "tag":
            data["entities"] = [json.dumps(entities_of(r, grouped=True), ensure_ascii=False) for r in results]
        case _:
            data["embedding"] = [x for r in results for x in vector_of(r)]
    return [
        {"name": name, "datatype": kind, "shape": [rows, *shape], "data": data[name]}
        for name, kind, shape in _outputs(turn)
    ]


def _split(raw: bytes, length: str | None) -> tuple[bytes, bytes]:
    """The JSON and the binary tensors after it. Raises ApiError 422."""
    if length is None:
        return raw, b""
    if not length.isdecimal() or int(length) > len(raw):
        raise bad("bad_binary_header", "Inference-Header-Content-Length is not the length of the JSON.")
    return raw[: int(length)], raw[int(length) :]


def _tensors(value: Any, binary: bytes) -> dict[str, list[str]]:
    """{tensor: texts}. Raises ApiError 422 for another name, type or shape."""
    if not isinstance(value, list) or not value:
        raise bad("missing_field", "inputs must be a list of tensors.")
    found: dict[str, list[str]] = {}
    for item in value:
        fields = Fields(item, "A tensor", {"name", "datatype", "shape", "data", "parameters"})
        name = fields.need("name")
        if name not in ("text", "text_pair") or name in found:
            raise bad("unknown_tensor", "The input tensors are text and, for pairs, text_pair; each once.")
        if fields.need("datatype") != "BYTES":
            raise bad("bad_datatype", f"{name} must be of datatype BYTES.")
        shape = fields.need("shape")
        if not isinstance(shape, list) or len(shape) not in (1, 2) or shape[1:] not in ([], [1]):
            raise bad("bad_shape", f"{name} must have shape [n] or [n, 1].")
        size = Fields(fields.get("parameters") or {}, "parameters", {"binary_data_size"}).whole(
            "binary_data_size", 0, len(binary)
        )
        if size is None:
            texts = _flat(fields.need("data"), name)
        else:
            texts, binary = _unpack(binary[:size], name), binary[size:]
        if not isinstance(shape[0], int) or len(texts) != shape[0]:
            raise bad("bad_shape", f"{name} has {len(texts)} element(s), not what its shape says.")
        found[name] = texts
    return found


def _flat(value: Any, name: str) -> list[str]:
    rows = value if isinstance(value, list) else [value]
    texts = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in rows]
    if not all(isinstance(text, str) for text in texts):
        raise bad("not_a_string", f"{name} must hold strings.")
    return texts


def _unpack(raw: bytes, name: str) -> list[str]:
    """Elements of a BYTES tensor: four bytes of little-endian length, then the bytes."""
    texts, at = [], 0
    while at < len(raw):
        if at + 4 > len(raw):
            raise bad("bad_binary_tensor", f"The binary data of {name} ends within an element.")
        (size,) = struct.unpack_from("<I", raw, at)
        piece = raw[at + 4 : at + 4 + size]
        if len(piece) != size:
            raise bad("bad_binary_tensor", f"The binary data of {name} ends within an element.")
        try:
            texts.append(piece.decode("utf-8"))
        except UnicodeDecodeError:
            raise bad("bad_unicode", f"An element of {name} is not UTF-8.") from None
        at += 4 + size
    return texts


def _pairs(tensors: dict[str, list[str]]) -> list[Input]:
    if "text" not in tensors:
        raise bad("missing_field", "The tensor text is missing.")
    texts, seconds = tensors["text"], tensors.get("text_pair")
    if seconds is None:
        return [*texts]
    if len(seconds) != len(texts):
        raise bad("bad_shape", "text and text_pair must have the same number of elements.")
    return [*zip(texts, seconds, strict=True)]


def _wanted(value: Any, known: list[str]) -> list[str]:
    if not value:
        return known
    if not isinstance(value, list):
        raise bad("bad_outputs", "outputs must be a list of tensors.")
    fields = [Fields(item, "An output", {"name", "parameters"}) for item in value]
    names = [str(field.need("name")) for field in fields]
    if set(names) - set(known):
        raise bad("unknown_tensor", f"This model's output tensors are {', '.join(known)}.")
    return names


def _turn(request: Request) -> Any:
    path = request.path_params
    name = path["name"]
    if version := path.get("version"):
        if "@" in name:
            raise ApiError(404, "not_served", "Give the version once, after /versions/ or after @.")
        name = f"{name}@{version}"
    return serving(request, path["org"], name)


async def repository(request: Request) -> Response:
    """POST /v2/repository/index: what the caller's team is served."""
    state: ServerState = request.state
    grant = await caller(request, state)
    states = {"ready": "READY", "loading": "LOADING", "failed": "UNAVAILABLE"}
    return json_response(
        [
            {
                "name": slot.served.model_id,
                "version": slot.served.channel,
                "state": states.get(slot.state, "UNAVAILABLE"),
                "reason": slot.error or "",
            }
            for slot in state.slots.team_slots(grant.team)
        ]
    )


_MODEL = "/v2/models/{org}/{name}"
ROUTES = [
    Route("/v2", server),
    Route("/v2/health/live", live),
    Route("/v2/health/ready", ready),
    Route("/v2/repository/index", repository, "POST"),
    *(
        Route(f"{_MODEL}{version}{end}", view, method, computes=view is infer)
        for version in ("", "/versions/{version}")
        for end, view, method in (
            ("", metadata, "GET"),
            ("/ready", model_ready, "GET"),
            ("/infer", infer, "POST"),
        )
    ),
]
