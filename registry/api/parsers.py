"""Strict JSON: what two readers could understand in two ways is refused with 400, not guessed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import IO, Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import BaseParser

MAX_DEPTH = 32


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ParseError("The JSON names a key twice; readers would disagree about its value.")
    return result


def _constant(name: str) -> Any:
    raise ParseError(f"The body contains {name}, which is not JSON. Send a number or null.")


def _check(value: Any, depth: int = 1) -> None:
    if depth > MAX_DEPTH:
        raise ParseError(f"The JSON is nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth)
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, str) and ("\x00" in value or any("\ud800" <= c <= "\udfff" for c in value)):
        raise ParseError(
            "The JSON contains a NUL character or half of a surrogate pair, which cannot be stored."
        )


class StrictJSONParser(BaseParser):
    """UTF-8 JSON without NaN, duplicate keys, NUL, lone surrogates or deep nesting."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        try:
            value = json.loads(
                stream.read().decode("utf-8"), object_pairs_hook=_pairs, parse_constant=_constant
            )
        except UnicodeDecodeError as error:
            raise ParseError("The body is not UTF-8.") from error
        except RecursionError as error:
            raise ParseError(f"The JSON is nested deeper than {MAX_DEPTH} levels.") from error
        except ValueError as error:
            raise ParseError(f"The body is not JSON: {error}.") from error
        _check(value)
        return value
