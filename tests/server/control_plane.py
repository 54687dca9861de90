"""A small control plane with the contract's four endpoints, and switches for everything that can go wrong."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

SERVICE_TOKEN = "service-secret"
TOKEN = "engineer-secret"
MODEL_ID = "acme/sentiment"
SHA = {"v1": "1" * 40, "v2": "2" * 40, "v3": "3" * 40}


def dummy_files(salt: int = 0, **config: Any) -> dict[str, bytes]:
    """A repository that the dummy backend can load; another salt is another model."""
    return {
        "config.json": json.dumps({"dummy_salt": salt, **config}).encode(),
        "tokenizer.json": b"{}",
        "model.safetensors": b"weights %d" % salt * 100,
        "README.md": b"not needed to load",
        "pytorch_model.bin": b"never to be fetched",
    }


class FakeControlPlane:
    """State plus `app`. Changed from the test's thread, read from the server's: every change is one
    assignment."""

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] = []
        self.blocked: list[dict[str, str]] = []
        self.files: dict[tuple[str, str, str], bytes] = {}
        self.tokens: dict[str, dict[str, Any]] = {
            TOKEN: {"active": True, "token_id": "t1", "team": "search", "user": "eva", "scopes": ["infer"]},
            "other-team": {
                "active": True,
                "token_id": "t2",
                "team": "ads",
                "user": "bo",
                "scopes": ["infer"],
            },
            "no-scope": {
                "active": True,
                "token_id": "t3",
                "team": "search",
                "user": "cy",
                "scopes": ["read"],
            },
        }
        self.down = False
        self.service_token = SERVICE_TOKEN
        self.raw_manifest: Any = None
        self.reports: list[dict[str, Any]] = []
        self.downloads: list[str] = []
        self.introspections = 0
        self.unauthorised = 0
        self.manifest_hits = {200: 0, 304: 0}
        self.download_gate = threading.Event()
        self.download_gate.set()
        self.app = Starlette(
            routes=[
                Route("/api/v1/serving/manifest", self._manifest),
                Route("/api/v1/serving/report", self._report, methods=["POST"]),
                Route("/api/v1/tokens/introspect", self._introspect, methods=["POST"]),
                Route("/hub/{org}/{name}/resolve/{sha}/{path:path}", self._resolve),
            ]
        )

    # What a test does

    def add_revision(self, version: str, files: dict[str, bytes], model_id: str = MODEL_ID) -> None:
        for path, content in files.items():
            self.files[model_id, SHA[version], path] = content

    def line(
        self,
        version: str,
        *,
        team: str = "search",
        channel: str = "production",
        model_id: str = MODEL_ID,
        **change: Any,
    ) -> dict[str, Any]:
        """The manifest's line for a revision as it is stored now."""
        files = [
            {"path": path, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for (owner, sha, path), content in sorted(self.files.items())
            if (owner, sha) == (model_id, SHA[version])
        ]
        digest = hashlib.sha256(json.dumps(files).encode()).hexdigest()
        return {
            "team": team,
            "model_id": model_id,
            "channel": channel,
            "commit_sha": SHA[version],
            "manifest_sha256": digest,
            "task": "text-classification",
            "max_length": 16,
            "files": files,
        } | change

    def serve(self, *lines: dict[str, Any]) -> None:
        self.models = list(lines)

    def last_states(self) -> dict[tuple[str, str], tuple[str, str | None]]:
        """(channel, wanted commit_sha) -> (state, error) of the last report."""
        return {
            (line["channel"], line["commit_sha"]): (line["state"], line["error"])
            for line in self.last_lines()
        }

    def last_lines(self) -> list[dict[str, Any]]:
        return list(self.reports[-1]["models"]) if self.reports else []

    # What the server asks

    def _refusal(self, request: Request) -> Response | None:
        if self.down:
            return Response(status_code=503)
        if request.headers.get("authorization") != f"Bearer {self.service_token}":
            self.unauthorised += 1
            return Response(status_code=401)
        return None

    async def _manifest(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        body = self.raw_manifest
        if body is None:
            content = json.dumps([self.models, self.blocked], sort_keys=True)
            generation = hashlib.sha256(content.encode()).hexdigest()[:16]
            body = {"generation": generation, "models": self.models, "blocked": self.blocked}
        etag = '"' + hashlib.sha256(json.dumps(body).encode()).hexdigest() + '"'
        if request.headers.get("if-none-match") == etag:
            self.manifest_hits[304] += 1
            return Response(status_code=304)
        self.manifest_hits[200] += 1
        return JSONResponse(body, headers={"ETag": etag})

    async def _report(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        self.reports.append(await request.json())
        return JSONResponse({})

    async def _introspect(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        self.introspections += 1
        token = (await request.json())["token"]
        if len(token) > 200:
            return JSONResponse({"error": "too long"}, status_code=400)
        return JSONResponse(self.tokens.get(token, {"active": False, "reason": "unknown"}))

    async def _resolve(self, request: Request) -> Response:
        if refusal := self._refusal(request):
            return refusal
        while not self.download_gate.is_set():
            await asyncio.sleep(0.01)
        path = request.path_params
        self.downloads.append(path["path"])
        content = self.files.get((f"{path['org']}/{path['name']}", path["sha"], path["path"]))
        if content is None or "team" not in request.query_params:
            return Response(status_code=404)
        return Response(content, media_type="application/octet-stream")
