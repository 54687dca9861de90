"""Which model a path or a field names."""

from __future__ import annotations

import re
from functools import lru_cache

from inference.server.errors import ApiError

_SELECTOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


@lru_cache(1024)
def parse_target(org: str, name: str) -> tuple[str, str | None]:
    """model_id and selector (channel or SHA) of {org}/{name}[@{selector}]. Raises ApiError 404."""
    name, at, selector = name.partition("@")
    if at and not _SELECTOR.fullmatch(selector):
        raise ApiError(404, "not_served", "After @ comes a channel or a 40-digit commit SHA.")
    return f"{org}/{name}", selector or None


def split_model(model: str) -> tuple[str, str]:
    """org and name[@selector] of a field `model`. Raises ApiError 404."""
    org, slash, name = model.partition("/")
    if not slash or not org or not name or "/" in name:
        raise ApiError(
            404, "not_served", "A model is named org/name, org/name@channel or org/name@commit_sha."
        )
    return org, name
