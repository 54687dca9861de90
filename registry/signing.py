"""The installation's Ed25519 key: what it signs, anybody with the public half can check offline.

Embedded mode makes the key on first use in the data folder (mode 0400). Production is given one by file
(`ASSAY_SIGNING_KEY`), so that every replica signs with the same key; it never makes one of its own.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from django.conf import settings

from registry.exceptions import NotConfigured

ALGORITHM = "ed25519"
KEY_NAME = "signing.pem"


@dataclass(frozen=True)
class Signature:
    """`value` is the base64 of the 64 signature bytes; `key_id` names the public key that checks it."""

    alg: str
    key_id: str
    value: str


def sign(content: bytes) -> Signature:
    """Raises NotConfigured when there is no usable key."""
    key = _private_key()
    return Signature(ALGORITHM, _key_id(key), base64.b64encode(key.sign(content)).decode("ascii"))


def sign_note(name: str, text: str) -> str:
    """`text` as a signed note (the form of Go's checksum database and of transparency logs).

    `name` is the signer's, without spaces or '+'; `text` ends with a newline. Raises NotConfigured.
    """
    key = _private_key()
    public = key.public_key().public_bytes_raw()
    hint = hashlib.sha256(f"{name}\n".encode() + b"\x01" + public).digest()[:4]
    value = base64.b64encode(hint + key.sign(text.encode("utf-8"))).decode("ascii")
    return f"{text}\n\u2014 {name} {value}\n"


def public_key_pem() -> str:
    """The public half as PEM text. Raises NotConfigured when there is no usable key."""
    return (
        _private_key()
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode("ascii")
    )


def key_id() -> str:
    """First 16 hex digits of the SHA-256 of the 32 public key bytes. Raises NotConfigured."""
    return _key_id(_private_key())


def _key_id(key: Ed25519PrivateKey) -> str:
    return hashlib.sha256(key.public_key().public_bytes_raw()).hexdigest()[:16]


def _private_key() -> Ed25519PrivateKey:
    """Read at each use: 119 bytes, and a key that the operator replaces is used at once."""
    path: Path | None = settings.SIGNING_KEY
    if path is None:
        if settings.PRODUCTION:
            raise NotConfigured(
                "This installation has no signing key, so it cannot sign. Its operator makes one with "
                "`openssl genpkey -algorithm ed25519 -out signing.pem` and names the file in ASSAY_SIGNING_KEY.",
                code="signing_key_missing",
            )
        path = Path(settings.KEYS_DIR) / KEY_NAME
        if not path.exists():
            _make(path)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise NotConfigured(
            "The signing key cannot be read. Its operator checks that ASSAY_SIGNING_KEY names a readable PEM file "
            "with an Ed25519 private key and no passphrase.",
            code="signing_key_unreadable",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise NotConfigured(
            "The signing key is not an Ed25519 key. Make one with `openssl genpkey -algorithm ed25519`.",
            code="signing_key_unreadable",
        )
    return key


def _make(path: Path) -> None:
    """Writes a new key whole. Two processes that start at once agree: the first link wins, the second reads it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".signing-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(pem)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o400)
        with suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink(missing_ok=True)
