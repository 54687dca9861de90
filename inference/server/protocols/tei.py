"""/tei/{org}/{name}[@{selector}]/...: the routes of Text Embeddings Inference, one base address a model."""

from __future__ import annotations

import json
from typing import Any

from inference.engine import Classify, Compare, Embed, Rank
from inference.engine.backend import Encoding
from inference.server.errors import ApiError
from inference.server.http import Request, Response, Route, json_response
from inference.server.metrics import PROMETHEUS, render
from inference.server.protocols.answers import head_of, headers_of, score_of, scores_of, vector_of
from inference.server.protocols.fields import Fields, bad, pair_of, texts_of
from inference.server.serving import Turn, serving
from inference.server.shown import shown_model

_ALL_LABELS = 100
_DIRECTION: dict[str, tuple[Any, ...]] = {"truncation_direction": ("Right", "right")}
_PROMPT: dict[str, tuple[Any, ...]] = {**_DIRECTION, "prompt_name": ()}


async def predict(request: Request) -> Response:
    """{"inputs": text | [text, second] | [[text], [text, second], ...]} -> labels with scores, best first."""
    async with _turn(request, "classify") as turn:
        fields = Fields(await turn.read_json(), "The body", {"inputs", "truncate", "raw_scores"}, _DIRECTION)
        inputs = fields.need("inputs")
        # TEI's own reading: a flat list of two texts is a pair, a list of lists is a batch.
        many = isinstance(inputs, list) and all(isinstance(one, list) for one in inputs)
        items = inputs if many else [inputs]
        if fields.flag("raw_scores", False):
            raise bad("unsupported_field", "raw_scores is not supported here; leave it out.")
        answer = await turn.ask(
            [pair_of(one) for one in items], Classify(_ALL_LABELS), truncate=fields.flag("truncate", True)
        )
        lines = [scores_of(result) for result in answer.results]
        return json_response(lines if many else lines[0], headers=headers_of(turn, answer))


async def embed(request: Request) -> Response:
    """{"inputs": text | [text, ...], "normalize"?, "truncate"?, "dimensions"?} -> a vector for each."""
    async with _turn(request, "embed") as turn:
        fields = Fields(
            await turn.read_json(), "The body", {"inputs", "truncate", "normalize", "dimensions"}, _PROMPT
        )
        size = turn.model.engine.head.size
        dimensions = fields.whole("dimensions", 1, size) or size
        items, _ = texts_of(fields.need("inputs"))
        normalise = fields.flag("normalize", True)
        # A shortened vector has another length: it is made 1 after the cut.
        whole = dimensions == size
        answer = await turn.ask(
            items, Embed(normalise if whole else False), truncate=fields.flag("truncate", True)
        )
        vectors = [shorten(vector_of(r), dimensions, normalise=normalise) for r in answer.results]
        return json_response(vectors, headers=headers_of(turn, answer))


async def rerank(request: Request) -> Response:
    """{"query", "texts", "raw_scores"?, "return_text"?} -> [{index, score, text?}], best first."""
    async with _turn(request, "classify") as turn:
        known = {"query", "texts", "truncate", "raw_scores", "return_text"}
        fields = Fields(await turn.read_json(), "The body", known, _DIRECTION)
        query = fields.need("query")
        if not isinstance(query, str):
            raise bad("not_a_string", "query must be a string.")
        texts = fields.strings("texts", most=turn.state.settings.limits.max_inputs)
        raw, show = fields.flag("raw_scores", False), fields.flag("return_text", False)
        answer = await turn.ask(
            [(query, text) for text in texts], Rank(raw), truncate=fields.flag("truncate", True)
        )
        lines = [
            {"index": i, "score": score_of(result), **({"text": texts[i]} if show else {})}
            for i, result in enumerate(answer.results)
        ]
        lines.sort(key=lambda line: -float(str(line["score"])))
        return json_response(lines, headers=headers_of(turn, answer))


async def similarity(request: Request) -> Response:
    """{"inputs": {"source_sentence", "sentences"}} -> the cosine of each."""
    async with _turn(request, "embed") as turn:
        body = Fields(await turn.read_json(), "The body", {"inputs", "parameters"})
        extra = Fields(body.get("parameters") or {}, "parameters", {"truncate"}, _PROMPT)
        fields = Fields(body.need("inputs"), "inputs", {"source_sentence", "sentences"})
        most = turn.state.settings.limits.max_inputs - 1
        inputs = [fields.need("source_sentence"), *fields.strings("sentences", most=most)]
        answer = await turn.ask(inputs, Compare(), truncate=extra.flag("truncate", True))
        return json_response([score_of(r) for r in answer.results], headers=headers_of(turn, answer))


async def tokenize(request: Request) -> Response:
    """{"inputs": text | [text, ...]} -> the ids that the model would see, cut at its length."""
    async with _turn(request) as turn:
        fields = Fields(
            await turn.read_json(), "The body", {"inputs"}, {"add_special_tokens": (True,), "prompt_name": ()}
        )
        items, _ = texts_of(fields.need("inputs"))
        checked = turn.checked(items)
        encodings: list[Encoding] = await turn.work(turn.model.engine.count_tokens, checked)
        return json_response(
            [[{"id": number} for number in encoding.input_ids] for encoding in encodings],
            headers=turn.headers,
        )


async def info(request: Request) -> Response:
    """What the model is, in TEI's words and with the approved revision."""
    async with _turn(request) as turn:
        engine, limits = turn.model.engine, turn.state.settings.limits
        kinds = {
            "classify": {"classifier": _labels(engine.labels)},
            "tag": {"token_classifier": _labels(engine.labels)},
            "embed": {"embedding": {"pooling": engine.head.pooling}},
        }
        return json_response(
            {
                "model_id": turn.model.key.model_id,
                "model_sha": turn.model.key.commit_sha,
                "model_dtype": engine.variant.dtype,
                "model_type": kinds[engine.head.kind],
                "max_concurrent_requests": limits.max_concurrent_requests,
                "max_input_length": engine.max_length,
                "max_client_batch_size": limits.max_inputs,
                "max_batch_tokens": engine.token_budget,
                "auto_truncate": True,
                "tokenization_workers": turn.state.tokenisers,
                "version": "assay",
                **shown_model(turn.slot),
            },
            headers=turn.headers,
        )


async def health(request: Request) -> Response:
    """200 while the model answers, through the caller's right to know."""
    async with _turn(request) as turn:
        if not turn.model.engine.alive:
            raise ApiError(503, "model_unavailable", "The model does not answer.", retry_after_s=2)
        return Response(headers=turn.headers)


async def metrics(request: Request) -> Response:
    """This model's figures in the text format of Prometheus."""
    async with _turn(request) as turn:
        state, key = turn.state, turn.model.key
        if state.all_figures is None:
            figures = render(state.metrics.of(key))
        else:
            figures = await state.all_figures(json.dumps(key))
        return Response(figures, kind=PROMETHEUS, headers=turn.headers)


def shorten(vector: list[float], dimensions: int, *, normalise: bool) -> list[float]:
    """The first `dimensions` places; of length 1 again when asked."""
    if dimensions >= len(vector):
        return vector
    cut = vector[:dimensions]
    if not normalise:
        return cut
    length: float = max(sum(x * x for x in cut) ** 0.5, 1e-12)
    return [x / length for x in cut]


def _labels(labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }


class _turn:
    """`serving`, refused when the model's head is another than the route needs."""

    def __init__(self, request: Request, head: str = "") -> None:
        self._serving = serving(request, request.path_params["org"], request.path_params["name"])
        self._head = head

    async def __aenter__(self) -> Turn:
        turn: Turn = await self._serving.__aenter__()
        if self._head and head_of(turn) != self._head:
            error = bad("wrong_task", f"This model does not {self._head}; GET info says what it does.")
            await self._serving.__aexit__(type(error), error, None)
            raise error
        return turn

    async def __aexit__(self, *details: Any) -> None:
        await self._serving.__aexit__(*details)


BASE = "/tei/{org}/{name}"
ROUTES = [
    Route(f"{BASE}/predict", predict, "POST", computes=True),
    Route(f"{BASE}/embed", embed, "POST", computes=True),
    Route(f"{BASE}/rerank", rerank, "POST", computes=True),
    Route(f"{BASE}/similarity", similarity, "POST", computes=True),
    Route(f"{BASE}/tokenize", tokenize, "POST"),
    Route(f"{BASE}/info", info),
    Route(f"{BASE}/health", health),
    Route(f"{BASE}/metrics", metrics),
]
