"""A decision's attestation, offline: the envelope's signature, that it does not contradict itself, and a folder of files."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli import document
from cli.document import LockedFile, LockedModel
from cli.findings import CannotCheck, Finding

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:assay:decision:1"
MAX_BYTES = 64 * 1024 * 1024


def check(path: Path, pem: bytes | None, now: datetime) -> tuple[LockedModel | None, list[Finding]]:
    """What was attested (None when its signature does not fit: nothing of it is worth a look), and what is wrong with it.

    Raises CannotCheck when the file is no attestation, or the key no key.
    """
    envelope = _read(path)
    try:
        payload = base64.b64decode(envelope["payload"], validate=True)
        findings = _signature(str(path), envelope, payload, pem)
        if any(finding.rule == "attestation-invalid" for finding in findings):
            return None, findings
        statement = json.loads(payload)
        model = _model(statement)
        return model, findings + _alone(str(path), statement, model, now)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CannotCheck(f"{path} is not an attestation as Assay writes it ({error}).") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise CannotCheck(f"{path} is larger than {MAX_BYTES >> 20} MiB; that is no attestation.")
        envelope = json.loads(content.decode("utf-8"))
    except OSError as error:
        raise CannotCheck(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise CannotCheck(f"{path} is not readable JSON: {error}.") from error
    if not isinstance(envelope, dict) or envelope.get("payloadType") != PAYLOAD_TYPE:
        raise CannotCheck(f"{path} is not a signed in-toto statement.")
    return envelope


def _signature(path: str, envelope: dict[str, Any], payload: bytes, pem: bytes | None) -> list[Finding]:
    if pem is None:
        sentence = "The signature was not checked: give --key FILE."
        return [Finding("attestation-unchecked", sentence, path)]
    from cryptography.exceptions import InvalidSignature

    key, key_id = document.public_key(pem)
    kind = PAYLOAD_TYPE.encode()
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    for signature in envelope["signatures"]:
        try:
            key.verify(base64.b64decode(signature["sig"], validate=True), signed)
            return []
        except (InvalidSignature, binascii.Error, KeyError, TypeError, ValueError):
            continue
    sentence = (
        f"No signature of the key {key_id} fits: the attestation was changed, or another key signed it."
    )
    return [Finding("attestation-invalid", sentence, path)]


def _model(statement: dict[str, Any]) -> LockedModel:
    said = statement["predicate"]
    approval = said["approval"]
    expires = datetime.fromisoformat(approval["expires_at"])
    if expires.tzinfo is None:
        raise ValueError("expires_at has no time zone")
    files = tuple(
        LockedFile(str(f["path"]), int(f["size"]), str(f["sha256"]), f["quarantined"] is True)
        for f in said["files"]
    )
    return LockedModel(
        model_id=str(said["model_id"]),
        revision=str(said["commit_sha"]),
        channel="",
        manifest_sha256=str(said["manifest_sha256"]),
        files=files,
        approval_id=int(approval["id"]),
        expires_at=expires.astimezone(UTC),
        remote_code_allowed=said["code_audit"]["verdict"] in ("passed", "waived"),
        remote_code_verdict=str(said["code_audit"]["verdict"]),
    )


def _alone(path: str, statement: dict[str, Any], model: LockedModel, now: datetime) -> list[Finding]:
    findings, wrong = [], []
    if (statement["_type"], statement["predicateType"]) != (STATEMENT_TYPE, PREDICATE_TYPE):
        wrong.append("it is a statement of another kind")
    subjects = {row["name"]: row["digest"]["sha256"] for row in statement["subject"]}
    if subjects != {file.path: file.sha256 for file in model.files}:
        wrong.append("its subjects are not its files")
    if document.manifest_sha256(model.files) != model.manifest_sha256:
        wrong.append("its files do not give its manifest digest")
    if not statement["predicate"]["approvers"]:
        wrong.append("it names nobody who approved")
    for what in wrong:
        findings.append(
            Finding("attestation-inconsistent", f"The attestation contradicts itself: {what}.", path)
        )
    if model.expires_at <= now:
        ended = model.expires_at.strftime("%Y-%m-%d %H:%M UTC")
        findings.append(
            Finding("attestation-expired", f"The approval of {model.short} ended on {ended}.", path)
        )
    return findings
