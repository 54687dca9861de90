"""Signed envelopes (DSSE) around in-toto statements, and the same for the `model-signing` library (a Sigstore bundle)."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from registry import signing
from registry.canonical import canonical_json

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
FILES_TYPE = "https://model_signing/signature/v1.0"
BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def encoded(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: what is signed, so that no payload can be taken for one of another type."""
    kind = PAYLOAD_TYPE.encode("ascii")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def envelope_of(statement: dict[str, Any]) -> dict[str, Any]:
    """The statement, signed with the installation's Ed25519 key. Raises NotConfigured."""
    payload = canonical_json(statement).encode("utf-8")
    signature = signing.sign(encoded(payload))
    return {
        "payloadType": PAYLOAD_TYPE,
        "payload": _base64(payload),
        "signatures": [{"keyid": signature.key_id, "sig": signature.value}],
    }


def files_bundle(name: str, files: list[tuple[str, str]]) -> dict[str, Any]:
    """A bundle over (path, sha256) that `model_signing verify key` accepts. Raises NotConfigured."""
    resources = [{"name": path, "algorithm": "sha256", "digest": digest} for path, digest in sorted(files)]
    root = hashlib.sha256(b"".join(bytes.fromhex(row["digest"]) for row in resources)).hexdigest()
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": FILES_TYPE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": resources,
        },
    }
    payload = canonical_json(statement).encode("utf-8")
    hint = hashlib.sha256(signing.files_public_key_pem().encode("ascii")).hexdigest()
    return {
        "mediaType": BUNDLE_TYPE,
        "verificationMaterial": {"publicKey": {"hint": hint}, "tlogEntries": []},
        "dsseEnvelope": {
            "payloadType": PAYLOAD_TYPE,
            "payload": _base64(payload),
            "signatures": [{"sig": _base64(signing.sign_files(encoded(payload))), "keyid": ""}],
        },
    }
