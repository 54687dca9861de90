"""POST /v1/embeddings in OpenAI's words (base address `{server}/v1`). `model` is org/name, org/name@channel or org/name@sha.

Texts that are too long are refused, as OpenAI does: its answer has no place to say that one was cut.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from inference.engine import Embed
from inference.server.http import Request, Response, Route, json_response
from inference.server.protocols.answers import head_of, headers_of, vector_of
from inference.server.protocols.fields import Fields, bad, texts_of
from inference.server.protocols.tei import shorten
from inference.server.serving import Turn, caller, visiting
from inference.server.shown import shown_model
from inference.server.state import ServerState
from inference.server.target import split_model

_KNOWN = {"model", "input", "encoding_format", "dimensions"}


async def embeddings(request: Request) -> Response:
    """A vector for each text, as numbers or as base64 of little-endian floats."""
    async with visiting(request) as visit:
        fields = Fields(await visit.read_json(), "The body", _KNOWN, {"user": (_AnyString(),)})
        model = fields.need("model")
        if not isinstance(model, str):
            raise bad("bad_model", "model must be a string.")
        with visit.turn(*split_model(model)) as turn:
            return await _embed(turn, fields)


async def _embed(turn: Turn, fields: Fields) -> Response:
    if head_of(turn) != "embed":
        raise bad("wrong_task", f"This model does not embed; it can {head_of(turn)}.")
    encoding = fields.choice("encoding_format", ("float", "base64"), "float")
    size = turn.model.engine.head.size
    dimensions = fields.whole("dimensions", 1, size) or size
    items, _ = texts_of(fields.need("input"), "input")
    answer = await turn.ask(items, Embed(dimensions == size), truncate=False)
    data = []
    for index, result in enumerate(answer.results):
        vector: Any = shorten(vector_of(result), dimensions, normalise=True)
        if encoding == "base64":
            vector = base64.b64encode(np.array(vector, dtype="<f4").tobytes()).decode()
        data.append({"object": "embedding", "index": index, "embedding": vector})
    tokens = sum(result.token_count for result in answer.results)
    return json_response(
        {
            "object": "list",
            "data": data,
            "model": f"{turn.model.key.model_id}@{turn.model.key.commit_sha}",
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        },
        headers=headers_of(turn, answer),
    )


async def models(request: Request) -> Response:
    """GET /v1/models: what is served to the caller's team. `data` in OpenAI's words, `models` in ours."""
    state: ServerState = request.state
    grant = await caller(request, state)
    lines = [shown_model(slot) for slot in state.slots.team_slots(grant.team)]
    data = [
        {
            "id": f"{line['model_id']}@{line['channel']}",
            "object": "model",
            "created": int(slot.since.timestamp()),
            "owned_by": grant.team,
        }
        for line, slot in zip(lines, state.slots.team_slots(grant.team), strict=True)
    ]
    return json_response({"object": "list", "data": data, "models": lines})


class _AnyString:
    """Equal to every string: a field that may say anything and means nothing to us."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str)

    def __hash__(self) -> int:
        return 0


ROUTES = [
    Route("/v1/embeddings", embeddings, "POST", computes=True),
    Route("/v1/models", models),
]
