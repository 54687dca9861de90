"""Attestations: what is signed, that anybody can check it offline, and that one changed byte or answer breaks it."""

from __future__ import annotations

import base64
import importlib
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from cli.main import main
from registry import signing
from registry.enums import EvidenceKind
from registry.models import Approval, AuditEvent
from reviews.models import Answer, Attestation
from reviews.services.deciding import decide
from tests.factories import Api, World, make_evidence, make_review, make_revision

FILES = {
    "config.json": b'{"model_type": "distilbert"}',
    "model.safetensors": b"weights" * 50,
    "onnx/model.bin": b"\x80\x04 a pickle",
    "README.md": "# Mô hình\n".encode(),
}
HELD = "onnx/model.bin"


def approve(world: World) -> Approval:
    revision = make_revision(world.team, files=FILES, facts={"formats": {"quarantined": [HELD]}})
    make_evidence(world.reviewer, revision, EvidenceKind.BENCHMARK)
    request = make_review(world, revision, answered=True)
    Answer.objects.filter(request=request, key="license").update(text="Giấy phép phù hợp.", version=2)
    decided = decide(
        actor=world.reviewer, request_pk=request.pk, decision="approved", conditions="Only short texts."
    )
    assert decided.approval is not None
    return decided.approval


class Desk:
    """The files that somebody outside has: attestation, key, a folder with the model."""

    def __init__(self, folder: Path, approval: Approval, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.file, self.key, self.model = folder / "a.intoto.json", folder / "key.pem", folder / "model"
        self.file.write_text(approval.attestation.envelope, encoding="utf-8")
        self.key.write_text(signing.public_key_pem())
        for path, content in FILES.items():
            if path != HELD:
                (self.model / path).parent.mkdir(parents=True, exist_ok=True)
                (self.model / path).write_bytes(content)

    def check(self, *more: str) -> tuple[int, list[str]]:
        code = main(
            ["verify", "--attestation", str(self.file), "--key", str(self.key), "--format", "json", *more]
        )
        report = json.loads(self.capsys.readouterr().out)
        return code, [f["rule"] for f in report["findings"]] + report["problems"]

    def rewrite(self, change: Callable[[dict[str, Any]], None]) -> None:
        envelope = json.loads(self.file.read_text(encoding="utf-8"))
        statement = json.loads(base64.b64decode(envelope["payload"]))
        change(statement)
        payload = json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        envelope["payload"] = base64.b64encode(payload.encode()).decode()
        self.file.write_text(json.dumps(envelope), encoding="utf-8")


@pytest.fixture
def approval(world: World) -> Approval:
    return approve(world)


@pytest.fixture
def desk(approval: Approval, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, approval, capsys)


def statement(approval: Approval) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(json.loads(approval.attestation.envelope)["payload"]))
    return found


def test_statement_holds_the_whole_decision(world: World, approval: Approval) -> None:
    said = statement(approval)
    assert said["_type"] == "https://in-toto.io/Statement/v1"
    assert {row["name"] for row in said["subject"]} == set(FILES)
    predicate = said["predicate"]
    assert predicate["commit_sha"] == approval.revision.commit_sha
    assert predicate["approval"]["conditions"] == "Only short texts."
    assert predicate["risk"] == {"tier": "low", "votes_needed": 1}
    answers = {row["key"]: row for row in predicate["answers"]}
    assert len(answers) == len(predicate["checklist"]) and answers["license"]["text"] == "Giấy phép phù hợp."
    (vote,) = predicate["approvers"]
    assert (vote["person"], vote["content_sha256"]) == ("reviewer", approval.content_sha256)
    assert [row["id"] for row in predicate["evidence"]] == approval.evidence_ids != []
    event = AuditEvent.objects.get(verb="approval.granted")
    assert predicate["audit_event"] == {"seq": event.seq, "hash": bytes(event.hash).hex()}
    attested = json.loads(AuditEvent.objects.get(verb="approval.attested").body)["data"]
    assert attested["payload_sha256"] == approval.attestation.payload_sha256


def test_it_is_checked_offline_with_the_public_key(desk: Desk) -> None:
    assert desk.check() == (0, [])
    assert desk.check("--snapshot", str(desk.model)) == (0, [])


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an answer": lambda s: s["predicate"]["answers"][0].update(verdict="acceptable", text="forged"),
    "an answer taken out": lambda s: s["predicate"]["answers"].pop(),
    "a condition": lambda s: s["predicate"]["approval"].update(conditions=""),
    "the approver": lambda s: s["predicate"]["approvers"][0].update(person="admin"),
    "the environment": lambda s: s["predicate"]["approval"].update(environment="production"),
    "the evidence": lambda s: s["predicate"].update(evidence=[]),
    "a file's digest": lambda s: s["subject"][0]["digest"].update(sha256="0" * 64),
    "the code's verdict": lambda s: s["predicate"]["code_audit"].update(verdict="passed"),
    "the end": lambda s: s["predicate"]["approval"].update(expires_at="2099-01-01T00:00:00+00:00"),
}


@pytest.mark.parametrize("what", list(CHANGES))
def test_one_changed_word_breaks_it(desk: Desk, what: str) -> None:
    desk.rewrite(CHANGES[what])
    code, found = desk.check()
    assert code == 1 and "attestation-invalid" in found


def test_every_changed_byte_of_the_payload_breaks_it(desk: Desk) -> None:
    envelope = json.loads(desk.file.read_text(encoding="utf-8"))
    payload = bytearray(base64.b64decode(envelope["payload"]))
    for at in range(0, len(payload), max(1, len(payload) // 60)):
        changed = bytearray(payload)
        changed[at] ^= 1
        envelope["payload"] = base64.b64encode(changed).decode()
        desk.file.write_text(json.dumps(envelope), encoding="utf-8")
        code, found = desk.check()
        assert code in (1, 2) and found, at


def test_every_changed_byte_of_the_signature_breaks_it(desk: Desk) -> None:
    envelope = json.loads(desk.file.read_text(encoding="utf-8"))
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    for at in range(len(signature)):
        changed = bytearray(signature)
        changed[at] ^= 1
        envelope["signatures"][0]["sig"] = base64.b64encode(changed).decode()
        desk.file.write_text(json.dumps(envelope), encoding="utf-8")
        assert desk.check() == (1, ["attestation-invalid"]), at


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"weights" * 49 + b"weightz"),
            "file-changed",
        ),
        (lambda folder: (folder / "extra.py").write_text("import os"), "file-extra"),
        (lambda folder: (folder / "config.json").unlink(), "file-missing"),
        (
            lambda folder: ((folder / "onnx").mkdir(), (folder / HELD).write_bytes(FILES[HELD])),
            "file-quarantined",
        ),
    ],
)
def test_folder_is_compared_byte_by_byte(desk: Desk, spoil: Callable[[Path], Any], rule: str) -> None:
    spoil(desk.model)
    code, found = desk.check("--snapshot", str(desk.model))
    assert code == 1 and rule in found


def test_another_key_and_no_key_are_said(desk: Desk, settings: Any, tmp_path: Path) -> None:
    settings.KEYS_DIR = tmp_path / "other"
    desk.key.write_text(signing.public_key_pem())
    assert desk.check() == (1, ["attestation-invalid"])
    assert main(["verify", "--attestation", str(desk.file)]) == 0
    assert "[attestation-unchecked]" in desk.capsys.readouterr().out


def test_what_is_no_attestation_cannot_be_checked(desk: Desk) -> None:
    for content in (
        "no JSON",
        "{}",
        "[" * 5000,
        '{"payloadType": "application/vnd.in-toto+json", "payload": "e30="}',
    ):
        desk.file.write_text(content)
        assert desk.check()[0] == 2, content[:20]
    assert desk.check("--lock", "x")[0] == 2


# --- model-signing's own verifier ---------------------------------------------------------------------------------------


def model_signing_verifier(key: Path) -> Any:
    """The library's verifier with a key. It imports pyOpenSSL, for certificates, without asking for it to be installed."""
    try:
        importlib.import_module("OpenSSL")
    except ImportError:
        empty = types.ModuleType("OpenSSL")
        crypto = types.ModuleType("OpenSSL.crypto")
        setattr(empty, "crypto", crypto)  # noqa: B010 - a module has no such attribute for a type checker
        sys.modules["OpenSSL"], sys.modules["OpenSSL.crypto"] = empty, crypto
    verifying = importlib.import_module("model_signing.verifying")
    return verifying.Config().use_elliptic_key_verifier(public_key=key)


@pytest.mark.filterwarnings("ignore")
def test_model_signing_verifies_the_files(desk: Desk, approval: Approval, tmp_path: Path) -> None:
    signature, key = tmp_path / "model.sig", tmp_path / "files.pem"
    signature.write_text(approval.attestation.files_bundle)
    key.write_text(signing.files_public_key_pem())
    model_signing_verifier(key).verify(desk.model, signature)
    (desk.model / "config.json").write_bytes(FILES["config.json"] + b" ")
    with pytest.raises(ValueError, match=r"Hash mismatch for 'config\.json'"):
        model_signing_verifier(key).verify(desk.model, signature)
    (desk.model / "config.json").write_bytes(FILES["config.json"])
    bundle = json.loads(approval.attestation.files_bundle)
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b"config.json", b"config.jsno")
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    signature.write_text(json.dumps(bundle))
    with pytest.raises(Exception, match=r"\A\Z|signature"):
        model_signing_verifier(key).verify(desk.model, signature)


# --- in the house -------------------------------------------------------------------------------------------------------


def test_it_is_downloaded_by_the_team_only(world: World, approval: Approval, api: Callable[..., Api]) -> None:
    for name in ("attestation", "model-signature"):
        answer = api(world.viewer).get(f"/approvals/{approval.pk}/{name}")
        assert answer.status == 200 and "attachment" in answer.headers["Content-Disposition"]
        assert api(world.other).get(f"/approvals/{approval.pk}/{name}").status == 404
    assert (
        api(world.viewer)
        .get(f"/approvals/{approval.pk}/attestation")
        .data["payloadType"]
        .endswith("in-toto+json")
    )


def test_without_a_key_the_approval_stands_and_is_signed_later(
    world: World, settings: Any, api: Callable[..., Api], tmp_path: Path
) -> None:
    settings.PRODUCTION = True
    approval = approve(world)
    assert not Attestation.objects.exists()
    answer = api(world.viewer).get(f"/approvals/{approval.pk}/attestation")
    assert answer.status == 404 and "manage.py attest" in answer.error["message"]
    with pytest.raises(CommandError, match="no signing key"):
        call_command("attest")
    settings.PRODUCTION = False
    call_command("attest")
    assert statement(Approval.objects.get())["predicate"]["approval"]["id"] == approval.pk


def test_rejection_is_not_attested(world: World) -> None:
    request = make_review(world, make_revision(world.team))
    decide(actor=world.reviewer, request_pk=request.pk, decision="rejected", reason="The labels are swapped.")
    assert not Attestation.objects.exists()
