"""How a measurement becomes evidence: in the transaction that ends its job, bound to the manifest it was made on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from registry import audit
from registry.canonical import sha256_json
from registry.enums import EvidenceKind
from registry.jobs import Running
from registry.models import Evidence, Revision


def publish_evidence(
    running: Running,
    revision: Revision,
    kind: EvidenceKind,
    data: dict[str, Any],
    summary: str,
    also: Callable[[Evidence], None] = lambda evidence: None,
) -> None:
    """Writes the evidence (and what `also` adds) and ends the job. Raises LeaseLost when the job is not ours any more."""
    with running.publish() as ended:
        evidence = Evidence.objects.create(
            revision=revision,
            kind=kind,
            job=running.job,
            manifest_sha256=revision.manifest_sha256,
            summary=summary,
            data=data,
            sha256=sha256_json(data),
        )
        also(evidence)
        ended.revision = revision
        audit.record(
            actor=None,
            team=revision.model.team,
            verb="evidence.published",
            subject=evidence,
            kind=str(kind.label),
            model_id=revision.model.model_id,
            sha=revision.commit_sha,
            summary=summary,
            evidence_sha256=evidence.sha256,
            job=running.job.pk,
        )
