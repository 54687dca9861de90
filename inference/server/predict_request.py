"""What a predict request says: {"inputs": "text" | ["a", "b"], "parameters": {"top_k"?, "truncate"?}}."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from inference.engine import InferenceInputError
from inference.engine.validate import check_texts
from inference.server.errors import ApiError
from inference.server.settings import Limits

_SELECTOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class PredictRequest:
    texts: list[str]
    top_k: int | None
    truncate: bool


def parse_predict(value: Any, limits: Limits) -> PredictRequest:
    """The request, checked. Raises ApiError 422 naming the field, never its content."""
    body = _object(value, "The body", {"inputs", "parameters"})
    if "inputs" not in body:
        raise _bad("missing_field", "The body lacks the field inputs.")
    parameters = _object(body.get("parameters", {}), "parameters", {"top_k", "truncate"})
    top_k, truncate = parameters.get("top_k"), parameters.get("truncate", True)
    if top_k is not None and (
        not isinstance(top_k, int) or isinstance(top_k, bool) or not 1 <= top_k <= limits.max_top_k
    ):
        raise _bad("bad_top_k", f"parameters.top_k must be a whole number from 1 to {limits.max_top_k}.")
    if not isinstance(truncate, bool):
        raise _bad("bad_truncate", "parameters.truncate must be true or false.")
    inputs = body["inputs"]
    if not isinstance(inputs, str | list):
        raise _bad("not_a_string", "inputs must be a string or a list of strings.")
    try:
        texts = check_texts(
            [inputs] if isinstance(inputs, str) else inputs,
            max_inputs=limits.max_inputs,
            max_chars=limits.max_chars_per_input,
        )
    except InferenceInputError as exc:
        raise input_error(exc) from None
    return PredictRequest(texts, top_k, truncate)


def parse_target(org: str, name: str) -> tuple[str, str | None]:
    """model_id and selector (channel or SHA) of a path /{org}/{name}[@{selector}]. Raises ApiError 404."""
    name, at, selector = name.partition("@")
    if at and not _SELECTOR.fullmatch(selector):
        raise ApiError(404, "not_served", "After @ comes a channel or a 40-digit commit SHA.")
    return f"{org}/{name}", selector or None


def input_error(exc: InferenceInputError) -> ApiError:
    return ApiError(422, exc.code, str(exc), details=dict(exc.details))


def _object(value: Any, name: str, fields: set[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _bad("not_an_object", f"{name} must be a JSON object.")
    if unknown := value.keys() - fields:
        # How many, not which: a key can be a text that slipped.
        raise _bad(
            "unknown_field",
            f"{name} has {len(unknown)} unknown field(s); known are {', '.join(sorted(fields))}.",
        )
    return value


def _bad(code: str, message: str) -> ApiError:
    return ApiError(422, code, message)
