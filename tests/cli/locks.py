"""Lock files and folders for the command's tests, made without Django: the command is tested as it runs."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cli import document
from cli.document import LockedFile
from cli.main import main

MODEL_ID, SHA, OTHER_SHA = "acme/sentiment-vi-en", "a" * 40, "b" * 40
FILES: dict[str, bytes] = {
    "config.json": b'{"model_type": "distilbert"}',
    "model.safetensors": bytes(range(256)) * 8,
    "onnx/model.json": b"{}",
    "tokenizer.json": b'{"version": "1.0"}',
}
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(b"o" * 32)


def pem_of(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_id_of(key: Ed25519PrivateKey) -> str:
    return hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()[:16]


def entry(
    model_id: str = MODEL_ID, revision: str = SHA, *, files: dict[str, bytes] | None = None, code_allowed: bool = False,
    expires_at: str = "2999-01-01T00:00:00+00:00", quarantined: tuple[str, ...] = (),
) -> dict[str, Any]:  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"path": path, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        for path, data in sorted((FILES if files is None else files).items())
    ]
    typed = tuple(LockedFile(row["path"], row["size"], row["sha256"], False) for row in rows)
    for row in rows:
        if row["path"] in quarantined:
            row["quarantined"] = True
    return {
        "model": {
            "model_id": model_id, "revision": revision, "task": "text-classification", "max_length": 128,
            "tokenizer": {"class": "T", "use_fast": True, "digest": "d" * 64},
            "label_mapping": {"0": "negative", "1": "tích cực"},
        },
        "runtime": {"python": "3.11.9", "torch": "not measured"},
        "serving": {"device": "auto", "batch_size": 16, "timeout_ms": 10000, "log_raw_text": False},
        "channel": "production",
        "manifest_sha256": document.manifest_sha256(typed),
        "files": rows,
        "approval": {
            "id": 7, "status": "active", "environment": "production", "approved_at": "2026-01-01T00:00:00+00:00",
            "expires_at": expires_at, "conditions": "",
        },
        "trust_remote_code": {"allowed": code_allowed, "verdict": "passed" if code_allowed else "not_applicable",
                              "digest": "c" * 64 if code_allowed else None},
        "review_url": "http://127.0.0.1:8000/revisions/1/",
    }  # fmt: skip


def signed(*entries: dict[str, Any], key: Ed25519PrivateKey = KEY) -> dict[str, Any]:
    body = {
        "schema": "assay.lock/1",
        "registry": "http://127.0.0.1:8000",
        "team": "acme",
        "models": list(entries),
    }
    value = base64.b64encode(key.sign(document.canonical(body))).decode()
    return copy.deepcopy({**body, "signature": {"alg": "ed25519", "key_id": key_id_of(key), "value": value}})


class Desk:
    """A folder with a signed lock, its public key and a good snapshot; `run` is the command, its JSON read."""

    def __init__(self, folder: Path, capsys: Any) -> None:
        self.folder, self.capsys = folder, capsys
        self.lock, self.key = folder / "assay.lock.yaml", folder / "key.pem"
        self.key.write_bytes(pem_of(KEY))
        self.write(signed(entry()))

    def write(self, content: dict[str, Any]) -> None:
        self.lock.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")

    def snapshot(self) -> Path:
        base = self.folder / "snapshot"
        for path, data in FILES.items():
            (base / path).parent.mkdir(parents=True, exist_ok=True)
            (base / path).write_bytes(data)
        return base

    def cache(self) -> Path:
        """The layout of huggingface_hub: files are links from snapshots/<sha> into blobs."""
        repository = self.folder / "hub" / "models--acme--sentiment-vi-en"
        for path, data in FILES.items():
            blob = repository / "blobs" / hashlib.sha256(data).hexdigest()
            blob.parent.mkdir(parents=True, exist_ok=True)
            blob.write_bytes(data)
            link = repository / "snapshots" / SHA / path
            link.parent.mkdir(parents=True, exist_ok=True)
            up = "../" * (2 + path.count("/"))
            link.symlink_to(f"{up}blobs/{blob.name}")
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(SHA)
        return self.folder / "hub"

    def run(self, *arguments: object) -> tuple[int, list[str], dict[str, Any]]:
        """(exit code, the rules found in order, the whole answer)."""
        code = main(["verify", "--format", "json", *map(str, arguments)])
        answer = json.loads(self.capsys.readouterr().out)
        assert answer["exit_code"] == code
        return code, [finding["rule"] for finding in answer["findings"]], answer

    def with_lock(self, *arguments: object) -> tuple[int, list[str], dict[str, Any]]:
        return self.run("--lock", self.lock, "--public-key", self.key, *arguments)
