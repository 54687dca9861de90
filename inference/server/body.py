"""A request's body: read with a cap, parsed without the traps of JSON."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Collection
from typing import Any, NoReturn

import orjson

from inference.server.errors import ApiError
from inference.server.http import JSON, Request
from inference.server.patience import Patience, Watch

MAX_DEPTH = 32
# A body up to so many times the limit is read to its end and thrown away before it is refused: closing
# while the client still writes resets the connection, and it would never see why. Beyond that we close all
# the same.
_PATIENCE = 8


class ClientGone(Exception):
    """The client hung up before it had sent everything; there is nobody to answer."""


def body_now(request: Request, limit: int, kinds: Collection[bytes] = ()) -> bytes | None:
    """The body, at most `limit` bytes, when all of it has come; None: it has to be waited for. `kinds` are media types
    beside JSON that are taken. Raises ApiError 413, 415."""
    headers = request.headers
    kind = headers.get(b"content-type", JSON)
    if kind != JSON:
        kind = kind.partition(b";")[0].strip().lower()
        if kind != JSON and kind not in kinds:
            raise _wrong_kind()
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise _wrong_kind()
    body = request.source.whole()
    if body is not None and len(body) > limit:
        raise _too_large(limit)
    return body


async def read_body(request: Request, *, limit: int, deadline: float, patience: Patience) -> bytes:
    """The rest of the body, at most `limit` bytes, before `deadline` (`time.monotonic()`). Raises ApiError 413, 408;
    ClientGone."""
    declared = request.headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limit * _PATIENCE:
        raise _too_large(limit, close=True)
    task = asyncio.current_task()
    assert task is not None
    watch = Watch(deadline, task.cancel)
    patience.add(watch)
    try:
        return await _read(request, limit)
    except asyncio.CancelledError:
        if watch.ended_by is not None:
            task.uncancel()
            raise ApiError(408, "body_timeout", "The body did not arrive in time.", close=True) from None
        raise
    finally:
        patience.discard(watch)


async def _read(request: Request, limit: int) -> bytes:
    """Raises ApiError 413, ClientGone."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await request.source.receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        elif size > limit * _PATIENCE:
            raise _too_large(limit, close=True)
        else:
            chunks.clear()
        if not message.get("more_body"):
            break
    if size > limit:
        raise _too_large(limit)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def parse_json(raw: bytes) -> Any:
    """The JSON value. Raises ApiError 422 for bytes that are not UTF-8, not JSON, or JSON that two readers
    may understand differently: NaN and Infinity, numbers beyond a float, repeated keys, nesting beyond
    MAX_DEPTH."""
    plain = _plain(raw)
    if plain is not None:
        return plain
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid("The body is not UTF-8.") from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as exc:
        raise _invalid(f"The body is not JSON (line {exc.lineno}, column {exc.colno}).") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        raise _invalid("The body holds a number that is too long.") from None
    _check_depth(value)
    return value


def _plain(raw: bytes) -> dict[str, Any] | None:
    """What nearly every request is, by the quicker parser: an object of texts and lists of texts. None: look closely.

    That parser refuses what is not JSON or not Unicode, as ours does, but takes the last of a repeated key; there are none
    where the body has as many colons as the object has keys.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(value, dict) or raw.count(b":") != len(value):
        return None
    for one in value.values():
        if not isinstance(one, str) and not (
            isinstance(one, list) and all([isinstance(text, str) for text in one])
        ):
            return None
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ApiError(422, "duplicate_key", "The body repeats a key in one object.")
    return result


def _no_constant(name: str) -> NoReturn:
    raise ApiError(422, "invalid_number", f"{name} is not a JSON number.")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ApiError(422, "invalid_number", "The body holds a number beyond the range of a double.")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return
    raise _too_deep()


def _children(item: Any) -> list[Any]:
    inside = list(item.values()) if isinstance(item, dict) else item if isinstance(item, list) else []
    return [child for child in inside if isinstance(child, dict | list)]


def _wrong_kind() -> ApiError:
    return ApiError(
        415, "unsupported_media_type", "Send plain JSON with the header Content-Type: application/json."
    )


def _invalid(message: str) -> ApiError:
    return ApiError(422, "invalid_json", message)


def _too_deep() -> ApiError:
    return ApiError(422, "json_too_deep", f"The body is nested deeper than {MAX_DEPTH} levels.")


def _too_large(limit: int, *, close: bool = False) -> ApiError:
    message = f"The body is larger than {limit} bytes."
    return ApiError(413, "body_too_large", message, details={"limit": limit}, close=close)
