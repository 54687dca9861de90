"""Talking to the control plane. Its failures come out as ControlUnavailable or ControlRefused, nothing
else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx

from inference.server.credentials import ServiceToken
from inference.server.errors import ControlRefused, ControlUnavailable
from inference.server.settings import ServerSettings

_TIMEOUT = httpx.Timeout(5.0, connect=2.0)
_DOWNLOAD_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_CHUNK_BYTES = 1024 * 1024


class ControlPlane:
    """The control plane as the event loop sees it: manifest, introspection, report."""

    def __init__(self, settings: ServerSettings) -> None:
        # trust_env off: a proxy variable of the machine must not carry the service token elsewhere.
        self._client = httpx.AsyncClient(
            base_url=settings.control_url,
            auth=ServiceToken(settings.server_token, settings.server_token_file),
            timeout=_TIMEOUT,
            trust_env=False,
        )

    async def manifest(self, etag: str | None) -> tuple[Any, str | None] | None:
        """The manifest as JSON and its ETag; None when it is still the one with `etag`."""
        headers = {"If-None-Match": etag} if etag else {}
        response = await self._send("GET", "/api/v1/serving/manifest", headers=headers)
        if response.status_code == 304:
            return None
        return self._object(response), response.headers.get("ETag")

    async def introspect(self, token: str) -> dict[str, Any]:
        """What the control plane knows about a caller's token."""
        return self._object(await self._send("POST", "/api/v1/tokens/introspect", json={"token": token}))

    async def report(self, body: dict[str, Any]) -> None:
        """Tell the control plane what this replica serves."""
        await self._send("POST", "/api/v1/serving/report", json=body)

    async def close(self) -> None:
        await self._client.aclose()

    async def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = await self._client.request(method, path, **options)
        except httpx.HTTPError as exc:
            raise ControlUnavailable(f"{method} {path}: {type(exc).__name__}") from exc
        _check_status(response.status_code, f"{method} {path}")
        return response

    @staticmethod
    def _object(response: httpx.Response) -> dict[str, Any]:
        try:
            value = response.json()
        except ValueError as exc:
            raise ControlUnavailable("The control plane's answer is not JSON.") from exc
        if not isinstance(value, dict):
            raise ControlUnavailable("The control plane's answer is not a JSON object.")
        return value


class Downloads:
    """Files from the gateway, for the threads that load models: hashing gigabytes has no place on the event
    loop."""

    def __init__(self, settings: ServerSettings) -> None:
        self._client = httpx.Client(
            base_url=settings.control_url,
            # Identity: what is hashed must be what was sent.
            headers={"Accept-Encoding": "identity"},
            auth=ServiceToken(settings.server_token, settings.server_token_file),
            timeout=_DOWNLOAD_TIMEOUT,
            trust_env=False,
        )

    @contextmanager
    def open(self, *, team: str, model_id: str, commit_sha: str, path: str) -> Iterator[Iterator[bytes]]:
        """The bytes of one file of one revision, in chunks. Raises ControlUnavailable, ControlRefused."""
        url = f"/hub/{model_id}/resolve/{commit_sha}/{quote(path)}"
        try:
            with self._client.stream("GET", url, params={"team": team}) as response:
                _check_status(response.status_code, f"GET of {path}")
                yield response.iter_bytes(_CHUNK_BYTES)
        except httpx.HTTPError as exc:
            raise ControlUnavailable(f"GET of {path}: {type(exc).__name__}") from exc

    def close(self) -> None:
        self._client.close()


def _check_status(status: int, what: str) -> None:
    if status >= 500 or status == 429:
        raise ControlUnavailable(f"{what}: {status}")
    if status not in (200, 201, 202, 204, 304):
        raise ControlRefused(f"{what}: {status}", status)
