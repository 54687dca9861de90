"""The service token with which this replica asks the control plane."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import httpx


class ServiceToken(httpx.Auth):
    """Puts the token on each request. One that comes from a file is read again when the file changes:
    tokens are renewed before they end, and a replica that must be restarted for it will be forgotten."""

    def __init__(self, token: str, file: Path | None) -> None:
        self._token = token
        self._file = file
        self._read_at = _changed_at(file)

    def current(self) -> str:
        changed = _changed_at(self._file)
        if self._file is not None and changed != self._read_at:
            # An unreadable or empty file keeps the last token: it is being written just now.
            with suppress(OSError):
                self._token = self._file.read_text(encoding="utf-8").strip() or self._token
                self._read_at = changed
        return self._token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self.current()}"
        yield request


def _changed_at(file: Path | None) -> int:
    if file is None:
        return 0
    with suppress(OSError):
        return file.stat().st_mtime_ns
    return 0
