"""JSON answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Compact UTF-8 JSON. Raises ValueError for NaN: better no answer than one that is no JSON."""
    return Response(
        _encode(value).encode("utf-8"), status_code=status, headers=headers, media_type="application/json"
    )
