"""The one shape of every error answer: {"error": {"code", "message", "details"}}."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer that is not 200. The message is for the caller and holds no input, path or traceback."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        retry_after_s: int | None = None,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details or {}
        self.headers: dict[str, str] = {}
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(retry_after_s)
        if close:
            self.headers["Connection"] = "close"
        if status == 401:
            self.headers["WWW-Authenticate"] = "Bearer"

    def body(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "details": self.details}}


class ControlUnavailable(Exception):
    """The control plane did not answer, or not in a way that can be used. Go on with what is known."""


class ControlRefused(Exception):
    """The control plane answered that this replica may not have what it asked for. `status` is its HTTP
    status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ManifestError(ValueError):
    """The serving manifest is not what the contract says."""


class ArtifactError(Exception):
    """A file of a revision cannot be had as approved. `code` is integrity_error, artifact_unavailable or
    cache_error."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
