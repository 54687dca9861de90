"""CycloneDX 1.6: the model as a component with its card, and our review as `declarations`. docs/exports.md names the fields."""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import quote

from cyclonedx.spdx import fixup_id
from django.utils import timezone

from registry.actors import Actor
from registry.enums import EvidenceKind
from registry.inspection.card import find_section, sections_of
from registry.models import Revision
from reviews.enums import Verdict
from reviews.exports.dossier import dossier_of

_NAMESPACE = uuid.UUID("6b0c2f9e-4a4e-5d1b-9a53-6f1d3a0a7f10")
LIMITS = ("limitations", "recommendations", "out_of_scope")
# How far an answer says that the requirement is met.
CONFORMANCE = {Verdict.ACCEPTABLE: 1.0, Verdict.CONCERN: 0.5, Verdict.NOT_STATED: 0.0}


def as_json(actor: Actor, revision: Revision) -> bytes:
    return (
        json.dumps(bom_of(dossier_of(actor, revision), revision), indent=2, ensure_ascii=False) + "\n"
    ).encode()


def purl_of(model_id: str, commit_sha: str) -> str:
    """pkg:huggingface, as the package-url specification has it: the version is the commit, lower-case."""
    return f"pkg:huggingface/{quote(model_id, safe='/')}@{commit_sha}"


def bom_of(dossier: dict[str, Any], revision: Revision) -> dict[str, Any]:
    identity = dossier["revision"]
    ref = purl_of(identity["model_id"], identity["commit_sha"])
    decided = dossier["approvals"][-1]["id"] if dossier["approvals"] else 0
    bom: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, f'{ref} {decided}')}",
        "version": 1,
        "metadata": {
            "timestamp": timezone.now().isoformat(timespec="seconds"),
            "tools": {"components": [{"type": "application", "name": "Assay", "version": "0.1.0"}]},
            "component": _component(dossier, revision, ref),
        },
    }
    if dossier["reviews"]:
        bom |= _declared(dossier, dossier["reviews"][-1], ref)
    return bom


def _component(dossier: dict[str, Any], revision: Revision, ref: str) -> dict[str, Any]:
    identity = dossier["revision"]
    organisation, _, name = identity["model_id"].rpartition("/")
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "group": organisation,
        "name": name,
        "version": identity["commit_sha"],
        "purl": ref,
        "modelCard": _card(dossier, revision, ref),
        "components": [
            {
                "type": "file",
                "bom-ref": f"{ref}#{quote(file['path'])}",
                "name": file["path"],
                "hashes": [{"alg": "SHA-256", "content": file["sha256"]}],
                "properties": [
                    {"name": "assay:size", "value": str(file["size"])},
                    *([{"name": "assay:quarantined", "value": "true"}] if file["quarantined"] else []),
                ],
            }
            for file in dossier["files"]
        ],
        "properties": [
            {"name": "assay:manifest_sha256", "value": identity["manifest_sha256"]},
            {"name": "assay:code_audit", "value": identity["code_audit"]},
            *(
                {"name": "assay:approval", "value": f"{row['id']} {row['environment']} {row['status']}"}
                for row in dossier["approvals"]
            ),
        ],
    }
    if licence := identity["license"]:
        known = fixup_id(licence)
        component["licenses"] = [{"license": {"id": known} if known else {"name": licence}}]
    return component


def _card(dossier: dict[str, Any], revision: Revision, ref: str) -> dict[str, Any]:
    config = revision.config if isinstance(revision.config, dict) else {}
    parameters: dict[str, Any] = {
        "task": revision.pipeline_tag,
        "architectureFamily": config.get("model_type"),
        "modelArchitecture": ", ".join(str(name) for name in config.get("architectures") or []),
        "datasets": [
            {"type": "dataset", "name": name} for name in _named(revision.card_data.get("datasets"))
        ],
        "inputs": [{"format": "text"}],
        "outputs": [{"format": "label"}] if revision.label_mapping else [],
    }
    sections = sections_of(revision.card_text)
    limits = [found.text[:4000] for key in LIMITS if (found := find_section(sections, key))]
    uses = {row["use_case"] for row in [*dossier["approvals"], *dossier["reviews"]]}
    considerations = {"useCases": sorted(uses), "technicalLimitations": limits}
    card = {
        "bom-ref": f"{ref}#card",
        "modelParameters": _without_empty(parameters),
        "quantitativeAnalysis": _without_empty({"performanceMetrics": _metrics(dossier)}),
        "considerations": _without_empty(considerations),
    }
    return _without_empty(card)


def _named(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str) and one]


def _metrics(dossier: dict[str, Any]) -> list[dict[str, str]]:
    """What was measured here, not what the card promises."""
    found = []
    for row in dossier["evidence"]:
        data = row["data"] if isinstance(row["data"], dict) else {}
        if row["kind"] == EvidenceKind.EVALUATION:
            where = f"golden set {data.get('golden_set', {}).get('name', '')}"
            names = ["accuracy", "macro_f1"]
        else:
            where = str(data.get("hardware", {}).get("cpu", ""))
            names = ["latency_p50_ms", "latency_p95_ms", "throughput_texts_s", "max_rss_mb"]
        found += [{"type": name, "value": str(data[name]), "slice": where} for name in names if name in data]
    return found


def _declared(dossier: dict[str, Any], review: dict[str, Any], ref: str) -> dict[str, Any]:
    """The checklist as a standard, each answer a claim with its evidence, each decider an assessor."""
    standard = f"assay-checklist-{review['checklist_version']}"
    proofs = [f"evidence-{row['id']}" for row in dossier["evidence"]]
    answered = [item for item in review["items"] if item["answer"]]
    people = sorted(
        {vote["person"] for vote in review["votes"]} | {item["answer"]["by"] for item in answered}
    )
    mapped = [
        {
            "requirement": f"requirement-{item['key']}",
            "claims": [f"claim-{item['key']}"],
            "conformance": {
                "score": CONFORMANCE.get(item["answer"]["verdict"], 0.0),
                "rationale": item["answer"]["text"] or str(Verdict(item["answer"]["verdict"]).label),
            },
        }
        for item in answered
    ]
    attested = [
        {
            "summary": f"{vote['decision']} in round {vote['round']}, on content {vote['content_sha256']}",
            "assessor": f"assessor-{vote['person']}",
            "map": mapped,
        }
        for vote in review["votes"]
    ]
    requirements = [
        {
            "bom-ref": f"requirement-{i['key']}",
            "identifier": i["key"],
            "title": i["title"],
            "text": i["question"],
        }
        for i in review["items"]
    ]
    declarations = {
        "assessors": [
            {"bom-ref": f"assessor-{name}", "thirdParty": False,
             "organization": {"name": dossier["team"], "contact": [{"name": name}]}}
            for name in people
        ],
        "attestations": attested,
        "claims": [
            _without_empty(
                {"bom-ref": f"claim-{item['key']}", "target": ref, "predicate": item["title"],
                 "reasoning": item["answer"]["text"], "evidence": proofs}
            )
            for item in answered
        ],
        "evidence": [_proof(row) for row in dossier["evidence"]],
    }  # fmt: skip
    return {
        "definitions": {
            "standards": [
                {"bom-ref": standard, "name": "Model card review", "version": review["checklist_version"],
                 "requirements": requirements}
            ]
        },
        "declarations": _without_empty(declarations),
    }  # fmt: skip


def _proof(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "bom-ref": f"evidence-{row['id']}",
        "propertyName": row["kind"],
        "description": f"{row['summary']} (SHA-256 {row['sha256']}, on manifest {row['manifest_sha256']})",
        "created": row["at"],
    }


def _without_empty(value: dict[str, Any]) -> dict[str, Any]:
    return {key: one for key, one in value.items() if one not in (None, "", [], {})}
