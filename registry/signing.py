"""The installation's keys: what they sign, anybody with the public half can check offline.

Ed25519 signs lock files, checkpoints and attestations. ECDSA on P-256 signs the list of a model's files a second time, because
that is what the `model-signing` library verifies. Embedded mode makes both on first use in the data folder (mode 0400).
Production is given them by file (`ASSAY_SIGNING_KEY`, `ASSAY_MODEL_SIGNING_KEY`), so that every replica signs with the same
key; it never makes one of its own.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
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
FILES_ALGORITHM = "ecdsa-p256-sha256"
FILES_KEY_NAME = "model-signing.pem"


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


def sign_files(content: bytes) -> bytes:
    """ECDSA signature (DER) with the key for lists of files. Raises NotConfigured."""
    return _files_key().sign(content, ec.ECDSA(hashes.SHA256()))


def files_public_key_pem() -> str:
    """Raises NotConfigured."""
    return (
        _files_key()
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        .decode("ascii")
    )


def _private_key() -> Ed25519PrivateKey:
    key = _load(settings.SIGNING_KEY, KEY_NAME, "ASSAY_SIGNING_KEY", "ed25519", Ed25519PrivateKey.generate)
    if not isinstance(key, Ed25519PrivateKey):
        raise NotConfigured(
            "The signing key is not an Ed25519 key. Make one with `openssl genpkey -algorithm ed25519`.",
            code="signing_key_unreadable",
        )
    return key


def _files_key() -> ec.EllipticCurvePrivateKey:
    key = _load(
        settings.MODEL_SIGNING_KEY, FILES_KEY_NAME, "ASSAY_MODEL_SIGNING_KEY",
        "EC -pkeyopt ec_paramgen_curve:P-256", lambda: ec.generate_private_key(ec.SECP256R1()),
    )  # fmt: skip
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise NotConfigured(
            "The key for lists of files is not an EC key on P-256. Make one with "
            "`openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`.",
            code="signing_key_unreadable",
        )
    return key


def _load(given: Path | None, name: str, setting: str, algorithm: str, generate: Callable[[], Any]) -> Any:
    """Read at each use: a few bytes, and a key that the operator replaces is used at once."""
    path = given
    if path is None:
        if settings.PRODUCTION:
            raise NotConfigured(
                "This installation has no signing key, so it cannot sign. Its operator makes one with "
                f"`openssl genpkey -algorithm {algorithm} -out {name}` and names the file in {setting}.",
                code="signing_key_missing",
            )
        path = Path(settings.KEYS_DIR) / name
        if not path.exists():
            _make(path, generate())
    try:
        return load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise NotConfigured(
            f"The signing key cannot be read. Its operator checks that {setting} names a readable PEM file "
            "with a private key of the right kind and no passphrase.",
            code="signing_key_unreadable",
        ) from error


def _make(path: Path, key: Any) -> None:
    """Writes a new key whole. Two processes that start at once agree: the first link wins, the second reads it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    handle, made = tempfile.mkstemp(dir=path.parent, prefix=".signing-")
    temporary = Path(made)
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
