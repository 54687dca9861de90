"""Reading assay.lock.yaml: bounded, typed, and as it was signed. No trust in the file before its signature fits."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.findings import CannotCheck, Finding

SCHEMA = "assay.lock/1"
MAX_BYTES = 32 * 1024 * 1024
MAX_DEPTH = 12

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
MODEL_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9._-]{1,96}")


@dataclass(frozen=True)
class LockedFile:
    """`size` in bytes; a quarantined file belongs to the manifest and is given to nobody."""

    path: str
    size: int
    sha256: str
    quarantined: bool


@dataclass(frozen=True)
class LockedModel:
    model_id: str
    revision: str
    channel: str
    manifest_sha256: str
    files: tuple[LockedFile, ...]
    approval_id: int
    expires_at: datetime
    remote_code_allowed: bool
    remote_code_verdict: str

    @property
    def short(self) -> str:
        return f"{self.model_id}@{self.revision[:7]}"


@dataclass(frozen=True)
class Lock:
    """`raw` is the document as read, `models` its typed content, by model id."""

    path: str
    raw: dict[str, Any]
    models: dict[str, LockedModel]


def read_raw(path: Path) -> dict[str, Any]:
    """The document, YAML or JSON. Raises CannotCheck when it is no lock file, too large, too deep, or uses aliases."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CannotCheck(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) > MAX_BYTES:
        raise CannotCheck(f"{path} is larger than {MAX_BYTES // 1024 // 1024} MiB; that is no lock file.")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CannotCheck(f"{path} is not UTF-8 text.") from error
    document = _json(path, text) if text.lstrip().startswith("{") else _yaml(path, text)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise CannotCheck(f"{path} is not a lock file of a known kind: its schema must be {SCHEMA!r}.")
    return document


def _json(path: Path, text: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a key is repeated")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CannotCheck(f"{path} is not readable JSON: {error}.") from error


def _yaml(path: Path, text: str) -> Any:
    try:
        import yaml
    except ImportError as error:  # pragma: no cover - the environment's fault
        raise CannotCheck("Reading a lock needs PyYAML: pip install pyyaml.") from error

    class Loader(yaml.SafeLoader):
        """Dates stay the text that was signed; a key that is repeated hides the first, so it is refused."""

        yaml_implicit_resolvers = {
            first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
            for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) != len(node.value) or "<<" in keys:
                raise yaml.YAMLError("a key is repeated, merged, or no text")
            return super().construct_mapping(node, deep)

    try:
        depth = 0
        for event in yaml.parse(text, Loader=Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > MAX_DEPTH:
                raise CannotCheck(f"{path} uses aliases or is nested too deep; a lock file does neither.")
        return yaml.load(text, Loader=Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CannotCheck(f"{path} is not readable YAML: {' '.join(str(error).split())[:200]}.") from error


def canonical(document: dict[str, Any]) -> bytes:
    """What is signed: everything but the signature, keys sorted, no spaces, UTF-8. Raises ValueError for NaN and the like."""
    rest = {key: value for key, value in document.items() if key != "signature"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")


def signed_by(document: dict[str, Any]) -> str:
    """The id of the key that the lock says it is signed with, or ""."""
    signature = document.get("signature")
    return str(signature.get("key_id", "")) if isinstance(signature, dict) else ""


def check_signature(path: str, document: dict[str, Any], pem: bytes | None) -> list[Finding]:
    """Findings about the signature; none is the good case. Raises CannotCheck when the given key is no Ed25519 public key."""
    signature = document.get("signature")
    if not isinstance(signature, dict):
        return [
            Finding(
                "signature-missing", "The lock carries no signature; fetch it from the registry again.", path
            )
        ]
    if pem is None:
        return [
            Finding(
                "signature-unchecked",
                "The signature was not checked: give --public-key FILE, or --registry URL to fetch the key.",
                path,
            )
        ]
    key, key_id = public_key(pem)
    if signature.get("key_id") != key_id:
        said = str(signature.get("key_id"))[:40]
        sentence = f"The lock says it is signed with the key {said!r}; the key at hand is {key_id!r}."
        return [Finding("signature-unknown-key", sentence, path)]
    from cryptography.exceptions import InvalidSignature

    try:
        if signature.get("alg") != "ed25519" or set(signature) != {"alg", "key_id", "value"}:
            raise ValueError
        key.verify(base64.b64decode(str(signature.get("value")), validate=True), canonical(document))
    except (InvalidSignature, ValueError, TypeError, binascii.Error, RecursionError):
        sentence = "The lock was changed after it was signed. Fetch it from the registry again."
        return [Finding("signature-invalid", sentence, path)]
    return []


def public_key(pem: bytes) -> tuple[Any, str]:
    """(key, its id). Raises CannotCheck when the PEM is no Ed25519 public key."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_public_key
    except ImportError as error:  # pragma: no cover - the environment's fault
        raise CannotCheck("Checking a signature needs cryptography: pip install cryptography.") from error
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CannotCheck("The public key is not a readable PEM file.") from error
    if not isinstance(key, Ed25519PublicKey):
        raise CannotCheck("The public key is not an Ed25519 key.")
    return key, hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def check_content(path: str, document: dict[str, Any], now: datetime) -> tuple[Lock, list[Finding]]:
    """The typed lock, and what is wrong with it by itself. Raises CannotCheck when a field is missing or of another type."""
    entries = document.get("models")
    if not isinstance(entries, list) or not entries:
        raise CannotCheck(f"{path} names no models.")
    models: dict[str, LockedModel] = {}
    findings: list[Finding] = []
    for number, entry in enumerate(entries, 1):
        try:
            model = _model(entry)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise CannotCheck(f"{path}: model {number} is not as a lock file has it ({error}).") from error
        if model.model_id in models:
            raise CannotCheck(f"{path} names {model.model_id} twice.")
        models[model.model_id] = model
        findings += _alone(path, model, now)
    return Lock(path, document, models), findings


def _model(entry: Any) -> LockedModel:
    model, approval, code = entry["model"], entry["approval"], entry["trust_remote_code"]
    model_id = _text(model, "model_id")
    if not MODEL_ID.fullmatch(model_id) or ".." in model_id or "--" in model_id:
        raise ValueError(f"model_id {model_id[:80]!r}")
    written = datetime.fromisoformat(_text(approval, "expires_at"))
    if written.tzinfo is None:
        raise ValueError("expires_at has no time zone")
    expires_at = written.astimezone(UTC)
    if type(code["allowed"]) is not bool or type(approval["id"]) is not int:
        raise ValueError("trust_remote_code.allowed or approval.id")
    files = tuple(_file(file) for file in entry["files"])
    if len({file.path for file in files}) != len(files) or not files:
        raise ValueError("files are repeated, or there are none")
    return LockedModel(
        model_id=model_id,
        revision=_text(model, "revision"),
        channel="" if entry.get("channel") is None else _text(entry, "channel"),
        manifest_sha256=_text(entry, "manifest_sha256"),
        files=files,
        approval_id=approval["id"],
        expires_at=expires_at,
        remote_code_allowed=code["allowed"],
        remote_code_verdict=_text(code, "verdict"),
    )


def _text(holder: Any, key: str) -> str:
    value = holder[key]
    if not isinstance(value, str):
        raise ValueError(f"{key} is not text")
    return value


def _file(entry: Any) -> LockedFile:
    path, size, digest = _text(entry, "path"), entry["size"], _text(entry, "sha256")
    parts = path.split("/")
    if path.startswith("/") or "\\" in path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"file path {path[:80]!r}")
    path.encode("utf-8")  # half a surrogate pair is no file name, and has no digest
    if type(size) is not int or size < 0 or not SHA256.fullmatch(digest):
        raise ValueError(f"size or sha256 of {path[:80]!r}")
    return LockedFile(path, size, digest, entry.get("quarantined", False) is True)


def manifest_sha256(files: tuple[LockedFile, ...]) -> str:
    """The registry's digest of a revision: the sorted [path, size, sha256] list as canonical JSON."""
    rows = sorted([file.path, file.size, file.sha256] for file in files)
    text = json.dumps(rows, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _alone(path: str, model: LockedModel, now: datetime) -> list[Finding]:
    findings = []
    if not COMMIT.fullmatch(model.revision):
        sentence = (
            f"{model.model_id} is locked to {model.revision[:60]!r}, which is not a commit SHA and can move."
        )
        findings.append(Finding("lock-unpinned", sentence, path))
    if manifest_sha256(model.files) != model.manifest_sha256:
        sentence = f"The files listed for {model.short} do not give its manifest digest {model.manifest_sha256[:12]}…"
        findings.append(Finding("lock-manifest", sentence, path))
    if model.expires_at <= now:
        ended = model.expires_at.strftime("%Y-%m-%d %H:%M UTC")
        sentence = f"The approval of {model.short} ended on {ended}. Ask for its review again."
        findings.append(Finding("lock-expired", sentence, path))
    return findings
