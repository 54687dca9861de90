"""Results of the engine in the words that several protocols share."""

from __future__ import annotations

from typing import Any

from inference.engine import Answer, Embedding, Entities, Prediction, Score
from inference.server.serving import Turn


def head_of(turn: Turn) -> str:
    """classify, tag or embed."""
    return str(turn.model.engine.head.kind)


def scores_of(result: Any) -> list[dict[str, Any]]:
    assert isinstance(result, Prediction)
    return [{"label": s.label, "score": s.confidence} for s in result.scores or ()]


def vector_of(result: Any) -> list[float]:
    assert isinstance(result, Embedding)
    return list(result.vector)


def score_of(result: Any) -> float:
    assert isinstance(result, Score)
    return result.score


def entities_of(result: Any, *, grouped: bool) -> list[dict[str, Any]]:
    """As the Hub's token classification answers: `entity_group` once pieces are put together."""
    assert isinstance(result, Entities)
    key = "entity_group" if grouped else "entity"
    return [
        {key: e.label, "score": e.confidence, "word": e.word, "start": e.start, "end": e.end}
        for e in result.entities
    ]


def headers_of(turn: Turn, answer: Answer) -> dict[str, str]:
    """The revision, what computed it, and how many inputs were cut: these protocols have no field for it."""
    cut = sum(result.truncated for result in answer.results)
    return {
        **turn.headers,
        "X-Model-Variant": str(answer.variant),
        "X-Inference-Ms": str(answer.inference_ms),
        **({"X-Truncated-Inputs": str(cut)} if cut else {}),
    }
