"""One error, in the shape that a protocol's clients read. Code, status, sentence and headers stay the same."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from inference.server.errors import ApiError

_OPENAI_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_TEI_KINDS = {413: "validation", 422: "validation", 429: "overloaded", 500: "backend", 503: "unhealthy"}


@lru_cache(1024)
def protocol_of(path: str) -> str:
    """assay, hf, tei, openai, kserve or control, from the first words of a path."""
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    if first in ("hf", "tei"):
        return first
    if first == "v2":
        return "kserve"
    if first == "v1":
        return "openai" if path.startswith("/v1/embeddings") else "assay"
    return "control"


def shape_of(protocol: str, exc: ApiError) -> dict[str, Any]:
    """The body of an error answer."""
    match protocol:
        case "hf":
            return {"error": exc.message, "error_type": exc.code, "details": exc.details}
        case "tei":
            kind = _TEI_KINDS.get(exc.status, "unauthorized" if exc.status in (401, 403) else "validation")
            return {"error": exc.message, "error_type": kind, "code": exc.code, "details": exc.details}
        case "kserve":
            return {"error": exc.message, "code": exc.code, "details": exc.details}
        case "openai":
            kind = _OPENAI_KINDS.get(
                exc.status, "invalid_request_error" if exc.status < 500 else "server_error"
            )
            error = {"message": exc.message, "type": kind, "param": None, "code": exc.code}
            return {"error": error | {"details": exc.details}}
        case _:
            return exc.body()
