"""Exports: complete, valid, inert, audited, and for the roles that may."""

from __future__ import annotations

import builtins
import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from django.test import Client
from markdown_it import MarkdownIt

from registry.enums import EvidenceKind, Role
from registry.models import AuditEvent, Revision
from registry.services.channels import move_channel
from reviews.exports.tables import inert
from reviews.models import Answer
from reviews.services.deciding import decide
from tests.factories import Api, World, make_evidence, make_member, make_review, make_revision

KINDS = ("dossier", "dossier-pdf", "dossier-json", "review-template", "ml-bom")
NASTY = '=HYPERLINK("http://evil.example","<script>alert(1)</script>") # [x](javascript:1)'
MAY = {Role.REVIEWER, Role.SECURITY_AUDITOR, Role.RELEASE_MANAGER, Role.ADMIN, Role.AUDITOR}


@pytest.fixture
def revision(world: World) -> Revision:
    """Approved, measured and released; a person typed what would be dangerous in a page or a table."""
    found = make_revision(world.team)
    for kind in EvidenceKind:
        make_evidence(world.reviewer, found, kind)
    request = make_review(world, found, answered=True, environment="production", use_case=NASTY)
    Answer.objects.filter(request=request, key="license").update(text=NASTY, version=2)
    Answer.objects.filter(request=request, key="metrics").update(
        version=2, verdict="concern", text="Điểm số thiếu tập kiểm tra."
    )
    decide(actor=world.reviewer, request_pk=request.pk, decision="approved", conditions="Chỉ dùng nội bộ.")
    decided = decide(actor=world.security_auditor, request_pk=request.pk, decision="approved")
    assert decided.approval
    move_channel(
        actor=world.release_manager, model=found.model, name="production", approval=decided.approval,
        reason="It is approved and measured.",
    )  # fmt: skip
    return found


def path(revision: Revision, kind: str) -> str:
    return f"/models/{revision.model.model_id}/revisions/{revision.commit_sha}/exports/{kind}"


def bom(api: Callable[..., Api], world: World, revision: Revision) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(api(world.auditor).get(path(revision, "ml-bom")).content)
    return found


@pytest.mark.parametrize("role", list(Role))
def test_roles_may_export_as_the_table_says(
    world: World, revision: Revision, api: Callable[..., Api], role: Role
) -> None:
    client = api(world.by_role(role))
    expected = 200 if role in MAY else 403
    for address in (path(revision, "dossier-json"), "/exports/approvals.csv", "/exports/audit.csv"):
        assert client.get(address).status == expected, address


@pytest.mark.parametrize("kind", KINDS)
def test_export_is_audited_and_another_team_finds_nothing(
    world: World, revision: Revision, api: Callable[..., Api], kind: str
) -> None:
    answer = api(world.auditor).get(path(revision, kind))
    assert answer.status == 200 and len(answer.content) > 500
    assert f"{revision.short_sha}." in answer.headers["Content-Disposition"]
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.actor_id, event.object_id) == (
        "record.exported",
        world.auditor.user.pk,
        revision.pk,
    )
    assert api(world.other).get(path(revision, kind)).status == 404
    assert (
        AuditEvent.objects.latest("seq").verb != "record.exported"
        or AuditEvent.objects.latest("seq") == event
    )


def test_unknown_kind_is_named(world: World, revision: Revision, api: Callable[..., Api]) -> None:
    answer = api(world.auditor).get(path(revision, "everything"))
    assert answer.status == 404 and "dossier-pdf" in answer.error["message"]


def test_dossier_tells_the_whole_decision(world: World, revision: Revision, api: Callable[..., Api]) -> None:
    found = json.loads(api(world.auditor).get(path(revision, "dossier-json")).content)
    (approval,), (review,) = found["approvals"], found["reviews"]
    assert approval["conditions"] == "Chỉ dùng nội bộ." and approval["receipt"]["seq"] > 0
    assert all(item["answer"] for item in review["items"]) and review["votes"][0]["person"] == "reviewer"
    assert {row["kind"] for row in found["evidence"]} == {"benchmark", "evaluation"}
    assert {file["path"] for file in found["files"]} == {"config.json", "model.safetensors"}
    assert [move["channel"] for move in found["channel_moves"]] == ["production"]
    assert {"approval.granted", "review.approved"} <= {event["verb"] for event in found["trail"]}


def test_html_dossier_shows_words_and_runs_none(world: World, revision: Revision, client: Client) -> None:
    client.force_login(world.auditor.user)
    answer = client.get(f"/revisions/{revision.pk}/exports/dossier/")
    page = answer.content.decode()
    assert answer.headers["Content-Disposition"].startswith("inline")
    assert (
        "Điểm số thiếu tập kiểm tra." in page and "Chỉ dùng nội bộ." in page and revision.commit_sha in page
    )
    assert "<script" not in page and "&lt;script&gt;" in page and "style=" not in page


def test_pdf_is_a_pdf_with_the_words(world: World, revision: Revision, api: Callable[..., Api]) -> None:
    content = api(world.auditor).get(path(revision, "dossier-pdf")).content
    assert content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF") and len(content) > 8000


def test_without_system_libraries_pdf_is_refused_in_words(
    world: World, revision: Revision, api: Callable[..., Api], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "weasyprint":
            raise OSError("cannot load library 'libpango-1.0-0'")
        return real(name, *args, **kwargs)

    before = AuditEvent.objects.count()
    monkeypatch.setattr(builtins, "__import__", without)
    answer = api(world.auditor).get(path(revision, "dossier-pdf"))
    assert answer.status == 501 and answer.code == "pdf_not_available" and "Pango" in answer.error["message"]
    assert (
        AuditEvent.objects.filter(verb="record.exported").count() == 0
        and AuditEvent.objects.count() >= before
    )
    assert api(world.auditor).get(path(revision, "dossier")).status == 200


def test_template_is_filled_and_its_words_stay_words(
    world: World, revision: Revision, api: Callable[..., Api]
) -> None:
    text = api(world.auditor).get(path(revision, "review-template")).content.decode()
    assert (
        "Điểm số thiếu tập kiểm tra." in text and "Chỉ dùng nội bộ." in text and revision.commit_sha in text
    )
    read = MarkdownIt("commonmark", {"html": True}).render(text)
    assert "<script" not in read and "<a " not in read and "javascript:1" in read


def test_template_of_a_revision_without_a_review_is_refused(world: World, api: Callable[..., Api]) -> None:
    bare = make_revision(world.team, "d" * 40)
    answer = api(world.auditor).get(path(bare, "review-template"))
    assert answer.status == 409 and answer.code == "no_review"
    for kind in ("dossier", "dossier-json", "ml-bom"):
        assert api(world.auditor).get(path(bare, kind)).status == 200


# --- CycloneDX ----------------------------------------------------------------------------------------------------------


def test_bill_of_materials_fits_the_schema(world: World, revision: Revision, api: Callable[..., Api]) -> None:
    found = bom(api, world, revision)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(found)) is None
    bare = make_revision(world.team, "d" * 40)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom(api, world, bare))) is None


def test_bill_of_materials_says_model_card_and_review(
    world: World, revision: Revision, api: Callable[..., Api]
) -> None:
    found = bom(api, world, revision)
    component = found["metadata"]["component"]
    assert component["type"] == "machine-learning-model"
    assert component["purl"] == f"pkg:huggingface/acme/sentiment-vi-en@{revision.commit_sha}"
    assert component["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    hashes = {file["name"]: file["hashes"][0]["content"] for file in component["components"]}
    assert hashes == {row.path: row.blob_id for row in revision.files.all()}
    metrics = component["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]
    assert {"accuracy", "macro_f1", "latency_p50_ms"} <= {row["type"] for row in metrics}
    declared = found["declarations"]
    attestation, other = declared["attestations"]  # one for each who voted
    assert attestation["map"] == other["map"]
    scores = {row["requirement"]: row["conformance"]["score"] for row in attestation["map"]}
    assert scores["requirement-license"] == 1.0 and scores["requirement-metrics"] == 0.5


def test_references_of_the_bill_of_materials_lead_somewhere(
    world: World, revision: Revision, api: Callable[..., Api]
) -> None:
    found = bom(api, world, revision)
    refs: list[str] = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            if "bom-ref" in value:
                refs.append(value["bom-ref"])
            for one in value.values():
                collect(one)
        elif isinstance(value, list):
            for one in value:
                collect(one)

    collect(found)
    assert len(refs) == len(set(refs))
    declared = found["declarations"]
    wanted = {claim["target"] for claim in declared["claims"]}
    wanted |= {proof for claim in declared["claims"] for proof in claim["evidence"]}
    wanted |= {row["assessor"] for row in declared["attestations"]}
    for row in declared["attestations"]:
        wanted |= {mapped["requirement"] for mapped in row["map"]} | {
            c for m in row["map"] for c in m["claims"]
        }
    assert wanted <= set(refs)


# --- tables -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "  =1",
        "＝1",
        "＋1",
        "－1",
        "＠A",
        "|calc",
        "%0A",
    ],
)
def test_cell_that_could_act_is_made_text(cell: str) -> None:
    assert inert(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "words", "3.5", "2026-01-01", "Đánh giá", "a=b", "'quoted"])
def test_other_cells_stay_as_they_are(cell: str) -> None:
    assert inert(cell) == cell


def test_tables_are_read_back_as_typed_and_inert(
    world: World, revision: Revision, api: Callable[..., Api]
) -> None:
    for name, rows in (("approvals", 1), ("audit", 4)):
        content = api(world.auditor).get(f"/exports/{name}.csv").content
        assert content.startswith(b"\xef\xbb\xbf")
        head, *found = csv.reader(io.StringIO(content.decode("utf-8-sig")))
        assert len(found) >= rows and all(len(row) == len(head) for row in found)
        assert not [cell for row in found for cell in row if cell.startswith(("=", "+", "-", "@"))]
    head, only = csv.reader(
        io.StringIO(api(world.auditor).get("/exports/approvals.csv").content.decode("utf-8-sig"))
    )
    row = dict(zip(head, only, strict=True))
    assert row["use case"] == f"'{NASTY}" and row["conditions"] == "Chỉ dùng nội bộ."


def test_tables_hold_the_own_team_only(world: World, revision: Revision, api: Callable[..., Api]) -> None:
    stranger = make_member(world.other.in_team, Role.AUDITOR)
    for name in ("approvals", "audit"):
        assert revision.commit_sha not in api(stranger).get(f"/exports/{name}.csv").content.decode()


def test_panel_offers_exports_to_those_who_may(world: World, revision: Revision, client: Client) -> None:
    client.force_login(world.auditor.user)
    page = client.get(f"/revisions/{revision.pk}/").content.decode()
    assert all(f"/revisions/{revision.pk}/exports/{kind}/" in page for kind in KINDS)
    assert "Signed attestation" in page
    client.force_login(world.viewer.user)
    page = client.get(f"/revisions/{revision.pk}/").content.decode()
    assert "/exports/" not in page and "To export the record you need the role" in page
