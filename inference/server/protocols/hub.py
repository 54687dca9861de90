"""POST /hf/{org}/{name}[@{selector}]: what `huggingface_hub.InferenceClient(model=URL)` posts and understands.

The client sends every task to the same address; what the model is, and for an embedding model the shape of `inputs`, tell
which one is meant.
"""

from __future__ import annotations

from typing import Any, cast

from inference.engine import Classify, Compare, Embed, Entail, Tag
from inference.engine.tasks import AGGREGATIONS, Aggregation
from inference.server.http import Request, Response, Route, json_response
from inference.server.protocols.answers import (
    entities_of,
    head_of,
    headers_of,
    score_of,
    scores_of,
    vector_of,
)
from inference.server.protocols.fields import Fields, bad, pair_of, texts_of
from inference.server.serving import Turn, serving

DEFAULT_HYPOTHESIS = "This example is {}."
_TOP_K = 100


async def infer(request: Request) -> Response:
    """One task, told by the model's head and the body."""
    async with serving(request, request.path_params["org"], request.path_params["name"]) as turn:
        # The client writes some parameters beside `inputs`, others under `parameters`.
        value = await turn.read_json()
        if not isinstance(value, dict):
            raise bad("not_an_object", "The body must be a JSON object.")
        given = value.get("parameters") or {}
        if not isinstance(given, dict):
            raise bad("not_an_object", "parameters must be a JSON object.")
        inputs = Fields({"inputs": value.get("inputs")}, "The body", {"inputs"}).need("inputs")
        words = {**given, **{k: v for k, v in value.items() if k not in ("inputs", "parameters")}}
        answer = await _TASKS[head_of(turn)](turn, inputs, words)
        return answer


async def _classify(turn: Turn, inputs: Any, words: dict[str, Any]) -> Response:
    if "candidate_labels" in words:
        return await _zero_shot(turn, inputs, words)
    fields = Fields(words, "parameters", {"top_k", "function_to_apply", "truncation"})
    activation = fields.choice("function_to_apply", ("softmax", "sigmoid"), "")
    items, _ = texts_of([inputs] if isinstance(inputs, dict) else inputs)
    options = Classify(fields.whole("top_k", 1, _TOP_K) or _TOP_K, cast(Any, activation or None))
    answer = await turn.ask(
        [pair_of(item) for item in items], options, truncate=fields.flag("truncation", True)
    )
    return json_response([scores_of(result) for result in answer.results], headers=headers_of(turn, answer))


async def _zero_shot(turn: Turn, inputs: Any, words: dict[str, Any]) -> Response:
    """A model of natural-language inference asked, label by label, whether the text entails it."""
    fields = Fields(words, "parameters", {"candidate_labels", "multi_label", "hypothesis_template"})
    labels = fields.strings("candidate_labels", most=turn.state.settings.limits.max_inputs)
    template = fields.get("hypothesis_template") or DEFAULT_HYPOTHESIS
    if not isinstance(template, str) or "{}" not in template:
        raise bad("bad_hypothesis_template", "hypothesis_template must be a text with {} in it.")
    if not isinstance(inputs, str):
        raise bad("not_a_string", "inputs must be one text.")
    pairs = [(inputs, template.replace("{}", label)) for label in labels]
    answer = await turn.ask(pairs, Entail(multi_label=fields.flag("multi_label", False)))
    ranked = sorted(
        ({"label": label, "score": score_of(r)} for label, r in zip(labels, answer.results, strict=True)),
        key=lambda line: -cast(float, line["score"]),
    )
    return json_response(ranked, headers=headers_of(turn, answer))


async def _tag(turn: Turn, inputs: Any, words: dict[str, Any]) -> Response:
    fields = Fields(words, "parameters", {"aggregation_strategy", "ignore_labels"}, {"stride": (0,)})
    strategy = cast(Aggregation, fields.choice("aggregation_strategy", AGGREGATIONS, "simple"))
    ignored = tuple(fields.strings("ignore_labels", most=100)) if "ignore_labels" in fields else ("O",)
    items, many = texts_of(inputs)
    answer = await turn.ask(items, Tag(strategy, ignored))
    lines = [entities_of(result, grouped=strategy != "none") for result in answer.results]
    return json_response(lines if many else lines[0], headers=headers_of(turn, answer))


async def _embed(turn: Turn, inputs: Any, words: dict[str, Any]) -> Response:
    if isinstance(inputs, dict):
        Fields(words, "parameters", set())
        fields = Fields(inputs, "inputs", {"source_sentence", "sentences"})
        source = fields.need("source_sentence")
        most = turn.state.settings.limits.max_inputs - 1
        answer = await turn.ask([source, *fields.strings("sentences", most=most)], Compare())
        return json_response([score_of(r) for r in answer.results], headers=headers_of(turn, answer))
    neutral: dict[str, tuple[Any, ...]] = {
        "prompt_name": (), "truncation_direction": ("right", "Right"), "encoding_format": ("float",), "dimensions": (),
    }  # fmt: skip
    fields = Fields(words, "parameters", {"normalize", "truncate"}, neutral)
    normalise = fields.flag("normalize", False) if "normalize" in fields else None
    items, _ = texts_of(inputs)
    answer = await turn.ask(items, Embed(normalise), truncate=fields.flag("truncate", True))
    return json_response([vector_of(r) for r in answer.results], headers=headers_of(turn, answer))


_TASKS = {"classify": _classify, "tag": _tag, "embed": _embed}

ROUTES = [Route("/hf/{org}/{name}", infer, "POST", computes=True)]
