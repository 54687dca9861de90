"""What is true of the request being served: its id. A context variable, so that services need no request object."""

from __future__ import annotations

import secrets
from contextvars import ContextVar

_request_id: ContextVar[str] = ContextVar("request_id", default="")


def new_request_id(proposed: str = "") -> str:
    """Takes the caller's id when it is harmless (1-64 of letters, digits, -), else makes one."""
    safe = (
        proposed
        if 0 < len(proposed) <= 64 and proposed.replace("-", "").isalnum() and proposed.isascii()
        else ""
    )
    value = safe or secrets.token_hex(8)
    _request_id.set(value)
    return value


def request_id() -> str:
    return _request_id.get()
