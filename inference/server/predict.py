"""POST /v1/predict/{org}/{name}[@{channel or sha}]: our own protocol, which hides nothing.

Body: {"inputs": input | [input, ...], "parameters": {...}}; an input is a text or {"text", "text_pair"}. What comes back
follows the model: `predictions` of a classifier, `entities` of a token classifier, `embeddings` of an embedding model; with
`"task": "similarity"` or `"rank"` among the parameters, `scores`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

from inference.engine import Classify, Compare, Embed, Entities, Input, Options, Prediction, Rank, Tag
from inference.engine.tasks import AGGREGATIONS, Aggregation
from inference.server.http import Request, Response, json_response
from inference.server.protocols.answers import head_of, score_of, vector_of
from inference.server.protocols.fields import Fields, bad, pair_of
from inference.server.serving import Turn, serving

_PARAMETERS = {
    "classify": {"top_k", "truncate", "task", "function_to_apply", "raw_scores"},
    "tag": {"truncate", "task", "aggregation_strategy", "ignore_labels"},
    "embed": {"truncate", "task", "normalize"},
}
# What is asked without parameters.
_USUAL: dict[str, Options] = {"classify": Classify(), "tag": Tag(), "embed": Embed()}
_TASKS = {"classify": ("classify", "rank"), "tag": ("tag",), "embed": ("embed", "similarity")}


async def predict(request: Request) -> Response:
    """1. place, caller, model  2. the body  3. the engine  4. everything that is known about the answer."""
    async with serving(request, request.path_params["org"], request.path_params["name"]) as turn:
        body = Fields(await turn.read_json(), "The body", {"inputs", "parameters"})
        inputs = read_inputs(body.need("inputs"))
        options, truncate = read_parameters(turn, body.get("parameters"))
        answer = await turn.ask(inputs, options, truncate=truncate)
        return json_response(
            {
                **_results(options, answer.results),
                "model_id": turn.model.key.model_id,
                "commit_sha": turn.model.key.commit_sha,
                "channel": turn.slot.served.channel,
                "variant": str(answer.variant),
                "device": turn.model.engine.device,
                "latency_ms": turn.elapsed_ms(),
                "timings": {
                    "tokenization_ms": answer.tokenization_ms,
                    "queue_ms": answer.queue_ms,
                    "inference_ms": answer.inference_ms,
                },
                "request_id": request.id,
            },
            headers=turn.headers,
        )


def read_inputs(value: Any) -> list[Input]:
    """The inputs. Raises ApiError 422."""
    if isinstance(value, str | dict):
        return [pair_of(value)]
    if not isinstance(value, list):
        raise bad("not_a_string", "inputs must be a string, an object or a list of these.")
    # Objects are pairs; everything else is judged by the engine's own check, which names the index.
    return [pair_of(one) if isinstance(one, dict) else one for one in value]


def read_parameters(turn: Turn, value: Any) -> tuple[Options, bool]:
    """What is asked of the model, and whether a long input may be cut. Raises ApiError 422."""
    head = head_of(turn)
    if value is None:
        return _USUAL[head], True
    fields = Fields(value, "parameters", _PARAMETERS[head])
    task = fields.choice("task", _TASKS[head], _TASKS[head][0])
    truncate = fields.flag("truncate", True)
    match task:
        case "classify":
            activation = fields.choice("function_to_apply", ("softmax", "sigmoid"), "") or None
            top_k = fields.whole("top_k", 1, turn.state.settings.limits.max_top_k)
            return Classify(top_k, cast(Any, activation)), truncate
        case "rank":
            return Rank(fields.flag("raw_scores", False)), truncate
        case "tag":
            strategy = cast(Aggregation, fields.choice("aggregation_strategy", AGGREGATIONS, "simple"))
            ignored = (
                tuple(fields.strings("ignore_labels", most=100)) if "ignore_labels" in fields else ("O",)
            )
            return Tag(strategy, ignored), truncate
        case "similarity":
            return Compare(), truncate
        case _:
            normalise = fields.flag("normalize", False) if "normalize" in fields else None
            return Embed(normalise), truncate


def _results(options: Options, results: Any) -> dict[str, Any]:
    def line(result: Any, **fields: Any) -> dict[str, Any]:
        return {**fields, "token_count": result.token_count, "truncated": result.truncated}

    match options:
        case Classify():
            return {"predictions": [_prediction(result) for result in results]}
        case Tag():
            return {"entities": [line(r, entities=_entities(r)) for r in results]}
        case Embed():
            return {"embeddings": [line(r, vector=vector_of(r)) for r in results]}
        case _:
            return {"scores": [line(r, score=score_of(r)) for r in results]}


def _prediction(prediction: Prediction) -> dict[str, Any]:
    line: dict[str, Any] = {
        "label": prediction.label,
        "confidence": prediction.confidence,
        "token_count": prediction.token_count,
        "truncated": prediction.truncated,
    }
    if prediction.scores is not None:
        line["scores"] = [{"label": s.label, "confidence": s.confidence} for s in prediction.scores]
    return line


def _entities(result: Entities) -> list[dict[str, Any]]:
    return [asdict(entity) for entity in result.entities]
