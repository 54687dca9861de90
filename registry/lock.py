"""The lock file: the seed's pinning template, filled with what is true of the approved revision, and signed.

The document holds nothing that changes by itself (no time of generation): asking twice gives the same bytes, so a lock
in version control changes only when the truth does.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import yaml
from django.conf import settings

from registry import checkpoints, consumption, probes, remote_code, signing
from registry.actors import Actor
from registry.canonical import canonical_json
from registry.enums import EvidenceKind
from registry.exceptions import InvalidInput
from registry.hub import check_model_id
from registry.models import Approval, Evidence, Revision, RevisionFile
from registry.terms import terms_payload

SCHEMA = "assay.lock/1"
FILE_NAME = "assay.lock.yaml"
MAX_MODELS = 50
NOT_MEASURED = "not measured"

# What the template asks for. The engine measures with the first four; training libraries are never loaded by it.
RUNTIME = ("python", "torch", "transformers", "tokenizers", "safetensors", "datasets", "accelerate")
# Defaults of our own inference server (a test compares them with its code, which this floor does not import).
BATCH_SIZE = 16
TIMEOUT_MS = 10_000

HEADER = (
    "# assay.lock.yaml: approved revisions, every file's digest, signed by the registry.\n"
    "# Do not edit: ask the registry again. Check it with `assay verify --lock assay.lock.yaml`.\n"
)


def lock_of(actor: Actor, model_ids: list[str], channel: str = "") -> dict[str, Any]:
    """The signed document for these models, in the order asked.

    Raises InvalidInput for no, too many or repeated models; NotFound and Conflict as `consumption.approved` does.
    """
    if not model_ids:
        raise InvalidInput(
            "Name at least one model: ?model=org/name (repeat it for more).", code="model_missing"
        )
    if len(model_ids) > MAX_MODELS:
        raise InvalidInput(f"A lock holds at most {MAX_MODELS} models; ask in two.", code="too_many_models")
    if len(set(model_ids)) != len(model_ids):
        raise InvalidInput("A model is named twice. Name each once.", code="model_repeated")
    found = [consumption.approved(actor, check_model_id(model_id), channel=channel) for model_id in model_ids]
    document = {
        "schema": SCHEMA,
        "registry": settings.PUBLIC_URL,
        "team": actor.in_team.slug,
        "models": [_entry(approval, where) for approval, where in found],
    }
    return {**document, "signature": asdict(signing.sign(canonical_json(document).encode("utf-8")))}


def as_yaml(document: dict[str, Any]) -> str:
    """The file's text; reading it with any YAML 1.1 reader gives the document that was signed."""
    return HEADER + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def _entry(approval: Approval, channel: str) -> dict[str, Any]:
    revision = approval.revision
    facts = revision.facts if isinstance(revision.facts, dict) else {}
    tokenizer = facts.get("tokenizer", {})
    return {
        "model": {
            "model_id": approval.model.model_id,
            "revision": revision.commit_sha,
            "task": revision.pipeline_tag,
            "max_length": consumption.max_length_of(revision),
            "tokenizer": {
                "class": str(tokenizer.get("class") or ""),
                "use_fast": bool(tokenizer.get("use_fast")),
                "digest": str(tokenizer.get("sha256") or ""),
                "probe_digest": str(probes.tokenizer_probe(revision).get("digest") or NOT_MEASURED),
            },
            "label_mapping": {str(key): str(label) for key, label in revision.label_mapping.items()},
        },
        "runtime": _runtime(revision),
        "serving": {
            "device": "auto",
            "batch_size": BATCH_SIZE,
            "timeout_ms": TIMEOUT_MS,
            "log_raw_text": False,
        },
        "channel": channel or None,
        "manifest_sha256": revision.manifest_sha256,
        "files": _files(revision, set(facts.get("formats", {}).get("quarantined", []))),
        "approval": {
            "id": approval.pk,
            "status": str(approval.status),
            "environment": approval.environment,
            "approved_at": approval.approved_at.isoformat(),
            "expires_at": approval.expires_at.isoformat(),
            **terms_payload(approval),
            "receipt": checkpoints.receipt_of(approval),
        },
        "trust_remote_code": remote_code.answer(revision, approval.remote_code_sha256),
        "review_url": f"{settings.PUBLIC_URL}/revisions/{revision.pk}/",
    }


def _files(revision: Revision, quarantined: set[str]) -> list[dict[str, Any]]:
    """Every file of the manifest; a quarantined one is listed (the digest covers it) and marked: nobody gets its bytes."""
    rows = RevisionFile.objects.filter(revision=revision).select_related("blob").order_by("path")
    files: list[dict[str, Any]] = []
    for row in rows:
        file: dict[str, Any] = {"path": row.path, "size": row.blob.size, "sha256": row.blob_id}
        if row.path in quarantined:
            file["quarantined"] = True
        files.append(file)
    return files


def _runtime(revision: Revision) -> dict[str, str]:
    """Versions as the newest measurement of these bytes recorded them; what none recorded says so."""
    newest = (
        Evidence.objects.filter(
            revision=revision,
            manifest_sha256=revision.manifest_sha256,
            kind__in=[EvidenceKind.BENCHMARK, EvidenceKind.EVALUATION],
        )
        .order_by("-created_at", "-pk")
        .first()
    )
    versions = newest.data.get("versions") if newest and isinstance(newest.data, dict) else None
    known = versions if isinstance(versions, dict) else {}
    return {name: str(known.get(name) or NOT_MEASURED) for name in RUNTIME}
