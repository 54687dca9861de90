"""Asking a running registry: is what the lock holds still approved? Standard library only, one host, no redirects."""

from __future__ import annotations

import json
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from cli.document import Lock, LockedModel
from cli.findings import CannotCheck, Finding

TIMEOUT_S = 15
MAX_BYTES = 4 * 1024 * 1024


class _Stay(HTTPRedirectHandler):
    """A redirect would carry the token to another address; it is an answer like any other, and not a good one."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


class Registry:
    """`token` is an Assay token with the scope read."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise CannotCheck(f"--registry {url!r} is not an address; write it as https://assay.example.com.")
        self.url, self._token = url.rstrip("/"), token
        self._opener = build_opener(_Stay())

    def public_key(self, key_id: str) -> bytes | None:
        """The PEM of the published key of this id, None when the registry publishes none of that id."""
        status, body = self._get("/api/v1/keys")
        keys = body.get("keys")
        if status != 200 or not isinstance(keys, list):
            raise self._unexpected(status, body)
        for key in keys:
            if isinstance(key, dict) and key.get("key_id") == key_id:
                return str(key.get("public_key_pem", "")).encode("utf-8")
        return None

    def check(self, lock: Lock) -> list[Finding]:
        """Findings about every model of the lock. Raises CannotCheck when the registry gives no usable answer."""
        return [finding for model in lock.models.values() for finding in self._check(lock.path, model)]

    def _check(self, path: str, model: LockedModel) -> list[Finding]:
        address = f"/api/v1/models/{quote(model.model_id)}/approved"
        status, body = self._get(f"{address}?commit_sha={quote(model.revision, safe='')}")
        if status == 404:
            return [Finding("registry-refused", self._sentence(status, body), path)]
        if status != 200:
            raise self._unexpected(status, body)
        approval = body.get("approval")
        if not isinstance(approval, dict):
            raise self._unexpected(status, body)
        findings = []
        for key, here in (("model_id", model.model_id), ("commit_sha", model.revision),
                          ("manifest_sha256", model.manifest_sha256)):  # fmt: skip
            there = body.get(key)
            if there != here:
                sentence = f"{model.short}: the registry says {key} {str(there)[:64]!r}, the lock {here!r}."
                findings.append(Finding("registry-differs", sentence, path))
        if model.remote_code_allowed and body.get("trust_remote_code") is not True:
            sentence = f"{model.short}: the lock allows remote code, the registry does not."
            findings.append(Finding("registry-differs", sentence, path))
        if approval.get("status") == "deprecated":
            sentence = f"{model.short} is deprecated. See {str(body.get('review_url', self.url))[:300]}."
            findings.append(Finding("registry-deprecated", sentence, path))
        if approval.get("id") != model.approval_id:
            sentence = f"{model.short} was approved anew (approval {approval.get('id')}); fetch a new lock."
            findings.append(Finding("registry-renewed", sentence, path))
        if model.channel:
            findings += self._channel(path, model, address)
        return findings

    def _channel(self, path: str, model: LockedModel, address: str) -> list[Finding]:
        status, body = self._get(f"{address}?channel={quote(model.channel, safe='')}")
        if status == 200 and body.get("commit_sha") == model.revision:
            return []
        if status == 200:
            where = f"points at {str(body.get('commit_sha'))[:12]} now"
        elif status == 404:
            where = "serves nothing now"
        else:
            raise self._unexpected(status, body)
        sentence = (
            f"{model.short} was locked from the channel {model.channel}, which {where}; fetch a new lock."
        )
        return [Finding("channel-moved", sentence, path)]

    def _get(self, path: str) -> tuple[int, dict[str, Any]]:
        request = Request(
            f"{self.url}{path}", headers={"Accept": "application/json", "User-Agent": "assay-verify"}
        )
        if self._token:
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            with self._opener.open(request, timeout=TIMEOUT_S) as answer:
                status, content = answer.status, answer.read(MAX_BYTES + 1)
        except HTTPError as error:
            with error:
                status, content = error.code, error.read(MAX_BYTES + 1)
        except (URLError, OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise CannotCheck(f"The registry {self.url} cannot be asked: {reason}.") from error
        try:
            body = json.loads(content) if len(content) <= MAX_BYTES else None
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise CannotCheck(
                f"{self.url} answered {status} with something that is not Assay's. Is it the registry?"
            )
        return status, body

    def _sentence(self, status: int, body: dict[str, Any]) -> str:
        error = body.get("error")
        found = error.get("message") if isinstance(error, dict) else None
        if not isinstance(found, str):
            raise CannotCheck(f"{self.url} answered {status} without Assay's sentence. Is it the registry?")
        if isinstance(error, dict) and error.get("code") == "not_found":
            raise CannotCheck(f"{self.url} does not know this question (404). Is it the registry?")
        return found

    def _unexpected(self, status: int, body: dict[str, Any]) -> CannotCheck:
        error = body.get("error")
        message = str(error.get("message", ""))[:300] if isinstance(error, dict) else ""
        if status == 401 and not self._token:
            message = "it wants a token; put one in the variable that --token-env names (ASSAY_TOKEN)."
        return CannotCheck(f"The registry {self.url} answered {status}: {message or 'nothing usable'}")
