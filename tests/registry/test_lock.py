"""The lock file: true, repeatable, signed; refused as `approved` refuses; the key is made once and kept private."""

from __future__ import annotations

import base64
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)
from django.test import Client
from django.utils import timezone

from inference.engine import ClassifierConfig
from inference.server.settings import Limits
from registry import lock, signing
from registry.canonical import canonical_json, manifest_sha256, sha256_json
from registry.enums import EvidenceKind, JobKind, JobState, Scope
from registry.models import Evidence, Revision
from registry.services.channels import move_channel
from tests.factories import LABELS, MODEL_ID, SHA_A, SHA_B, Api, World, make_approval, make_job, make_revision

FACTS: dict[str, Any] = {
    "tokenizer": {
        "class": "DistilBertTokenizer",
        "use_fast": True,
        "sha256": "d" * 64,
        "max_length": 64,
        "probe": {"digest": "e" * 64},
    },
    "formats": {"quarantined": ["model.bin"]},
}
FILES = {"config.json": b"{}", "model.bin": b"\x80\x04", "model.safetensors": b"weights"}


def measured(world: World, revision: Revision, versions: dict[str, str]) -> Evidence:
    data = {"schema": 1, "versions": versions}
    return Evidence.objects.create(
        revision=revision, kind=EvidenceKind.BENCHMARK, manifest_sha256=revision.manifest_sha256, summary="measured",
        job=make_job(world.submitter, JobKind.BENCHMARK, state=JobState.SUCCEEDED), data=data, sha256=sha256_json(data),
    )  # fmt: skip


@pytest.fixture
def approved(world: World) -> Revision:
    """An approved revision, live in production."""
    revision = make_revision(world.team, facts=FACTS, files=FILES)
    approval = make_approval(world, revision, conditions="Only for Vietnamese\nand English.")
    move_channel(
        actor=world.release_manager,
        model=revision.model,
        name="production",
        approval=approval,
        reason="First release",
    )
    return revision


def ask(client: Api, query: str = f"model={MODEL_ID}") -> dict[str, Any]:
    answer = client.get(f"/lock?{query}")
    assert answer.status == 200, answer.data
    document: dict[str, Any] = yaml.safe_load(answer.content)
    return document


def checks(document: dict[str, Any], pem: str) -> bool:
    signature = document["signature"]
    rest = {key: value for key, value in document.items() if key != "signature"}
    key = load_pem_public_key(pem.encode())
    assert isinstance(key, Ed25519PublicKey)
    try:
        key.verify(base64.b64decode(signature["value"]), canonical_json(rest).encode())
    except InvalidSignature:
        return False
    return True


def test_lock_is_the_template_filled_with_truth(
    world: World, api: Callable[..., Api], approved: Revision
) -> None:
    measured(world, approved, {"python": "3.11.0", "torch": "1.0"})
    measured(
        world,
        approved,
        {"python": "3.11.9", "torch": "2.13.0", "transformers": "5.23.0", "tokenizers": "0.23.3"},
    )
    document = ask(api(world.viewer))
    assert (document["schema"], document["team"]) == ("assay.lock/1", "acme")
    (entry,) = document["models"]
    assert entry["model"] == {
        "model_id": MODEL_ID, "revision": SHA_A, "task": "text-classification", "max_length": 64,
        "tokenizer": {
            "class": "DistilBertTokenizer", "use_fast": True, "digest": "d" * 64, "probe_digest": "e" * 64,
        },
        "label_mapping": LABELS,
    }  # fmt: skip
    assert entry["runtime"] == {
        "python": "3.11.9", "torch": "2.13.0", "transformers": "5.23.0", "tokenizers": "0.23.3",
        "safetensors": "not measured", "datasets": "not measured", "accelerate": "not measured",
    }  # fmt: skip
    assert entry["serving"] == {
        "device": "auto",
        "batch_size": 16,
        "timeout_ms": 10_000,
        "log_raw_text": False,
    }
    assert entry["channel"] == "production"
    assert entry["approval"]["environment"] == "production"
    assert entry["approval"]["conditions"] == "Only for Vietnamese\nand English."
    assert entry["trust_remote_code"] == {"allowed": False, "verdict": "not_applicable", "digest": None}
    assert [(f["path"], f.get("quarantined", False)) for f in entry["files"]] == [
        ("config.json", False), ("model.bin", True), ("model.safetensors", False),
    ]  # fmt: skip
    listed = [(f["path"], f["size"], f["sha256"]) for f in entry["files"]]
    assert entry["manifest_sha256"] == approved.manifest_sha256 == manifest_sha256(listed)


def test_serving_block_says_what_our_server_does(tmp_path: Path) -> None:
    config = ClassifierConfig(snapshot=tmp_path, model_id=MODEL_ID, commit_sha=SHA_A)
    assert (config.batch_size, Limits().deadline_s * 1000) == (lock.BATCH_SIZE, lock.TIMEOUT_MS)


def test_unmeasured_revision_says_so(world: World, api: Callable[..., Api], approved: Revision) -> None:
    assert set(ask(api(world.viewer))["models"][0]["runtime"].values()) == {"not measured"}


def test_signature_is_checked_by_the_published_key(
    world: World, api: Callable[..., Api], approved: Revision
) -> None:
    client = api(world.viewer)
    document = ask(client)
    key, second = client.get("/keys").data["keys"]
    assert second["alg"] == "ecdsa-p256-sha256"
    assert document["signature"]["key_id"] == key["key_id"] and key["alg"] == "ed25519"
    assert checks(document, key["public_key_pem"])
    document["models"][0]["model"]["revision"] = SHA_B
    assert not checks(document, key["public_key_pem"])


def test_yaml_and_json_are_the_same_document_and_repeat(
    world: World, api: Callable[..., Api], approved: Revision
) -> None:
    client = api(world.viewer)
    first, second = (client.get(f"/lock?model={MODEL_ID}") for _ in range(2))
    assert first.content == second.content
    assert first.headers["Content-Type"].startswith("application/yaml")
    assert first.headers["Content-Disposition"] == 'attachment; filename="assay.lock.yaml"'
    assert client.get(f"/lock?model={MODEL_ID}&format=json").data == yaml.safe_load(first.content)
    raw = client.client.get(
        f"/api/v1/lock?model={MODEL_ID}",
        headers={"Authorization": f"Bearer {client.token}", "Accept": "application/json"},
    )
    assert raw.json() == yaml.safe_load(first.content)


@pytest.mark.parametrize(
    "text", ["yes", "1e3", "2026-01-01", "null", "a: b # c", "tab\there", "\x85\x7f\u2028", "giao hàng\n\n- x", "'\"", "0x1F"]
)  # fmt: skip
def test_text_that_yaml_could_read_otherwise_survives(world: World, text: str) -> None:
    revision = make_revision(world.team, labels={"0": text, "1": "other"}, facts=FACTS)
    make_approval(world, revision, conditions=text)
    document = lock.lock_of(world.viewer, [MODEL_ID])
    assert yaml.safe_load(lock.as_yaml(document)) == document


def test_several_models_keep_the_order_asked(
    world: World, api: Callable[..., Api], approved: Revision
) -> None:
    other = make_revision(world.team, SHA_B, model_id="acme/another")
    make_approval(world, other)
    document = ask(api(world.viewer), f"model={MODEL_ID}&model=acme/another")
    assert [e["model"]["model_id"] for e in document["models"]] == [MODEL_ID, "acme/another"]
    assert [e["channel"] for e in document["models"]] == ["production", None]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("model=acme/nobody", "/models/acme/nobody/approved"),
        (f"model={MODEL_ID}&channel=canary", f"/models/{MODEL_ID}/approved?channel=canary"),
        ("model=acme/waiting", "/models/acme/waiting/approved"),
    ],
)
def test_what_is_not_approved_is_refused_as_approved_refuses(
    world: World, api: Callable[..., Api], approved: Revision, query: str, path: str
) -> None:
    make_revision(world.team, SHA_B, model_id="acme/waiting")
    client = api(world.viewer)
    for suffix in ("", "&format=yaml", "&format=json"):
        answer = client.get(f"/lock?{query}{suffix}")
        assert answer.status == 404 and answer.error == client.get(path).error


def test_other_team_learns_nothing(world: World, api: Callable[..., Api], approved: Revision) -> None:
    assert api(world.other).get(f"/lock?model={MODEL_ID}").code == "model_unknown"


def test_expired_approval_gives_no_lock(world: World, api: Callable[..., Api]) -> None:
    revision = make_revision(world.team)
    past = timezone.now() - timedelta(days=1)
    make_approval(world, revision, expires_at=past)
    client = api(world.viewer)
    assert client.get(f"/lock?model={MODEL_ID}").code == "not_approved"
    asked = client.get(f"/models/{MODEL_ID}/approved?commit_sha={SHA_A}")
    assert (
        "its approval is expired" in asked.error["message"]
    )  # not "active": the sweep may not have come by yet


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("", "model_missing"),
        (f"model={MODEL_ID}&model={MODEL_ID}", "model_repeated"),
        ("&".join(f"model=acme/m{n}" for n in range(51)), "too_many_models"),
        ("model=..%2F..", "bad_model_id"),
        (f"model={MODEL_ID}&revision=main", "bad_parameter"),
        (f"model={MODEL_ID}&format=xml", "bad_parameter"),
    ],
)
def test_bad_question_is_refused_with_the_cure(
    world: World, api: Callable[..., Api], approved: Revision, query: str, code: str
) -> None:
    answer = api(world.viewer).get(f"/lock?{query}")
    assert (answer.status, answer.code) == (422, code)


def test_lock_needs_the_scope_read(world: World, api: Callable[..., Api], approved: Revision) -> None:
    assert api(world.viewer, [Scope.INFER]).get(f"/lock?model={MODEL_ID}").status == 403
    assert api(None).get(f"/lock?model={MODEL_ID}").status == 401


# --- the page ----------------------------------------------------------------------------------------------------------


def test_model_page_offers_the_lock_and_the_button_downloads_it(world: World, approved: Revision) -> None:
    client = Client()
    client.force_login(world.viewer.user)
    page = client.get(f"/models/{approved.model_id}/").content.decode()
    assert f'href="/models/{approved.model_id}/lock/"' in page
    assert 'data-tab="assay.lock.yaml"' in page
    answer = client.get(f"/models/{approved.model_id}/lock/")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="assay.lock.yaml"'
    document = yaml.safe_load(answer.content)
    assert document["models"][0]["model"]["revision"] == SHA_A
    assert checks(document, signing.public_key_pem())


def test_lock_button_of_an_unapproved_model_says_why_not(world: World) -> None:
    revision = make_revision(world.team)
    client = Client()
    client.force_login(world.viewer.user)
    answer = client.get(f"/models/{revision.model_id}/lock/")
    assert answer.status_code == 404 and "has no approved revision" in answer.content.decode()
    stranger = Client()
    stranger.force_login(world.other.user)
    assert stranger.get(f"/models/{revision.model_id}/lock/").status_code == 404


# --- the key -----------------------------------------------------------------------------------------------------------


def private_pem(key: Any) -> bytes:
    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


def test_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    ids: list[str] = []
    threads = [Thread(target=lambda: ids.append(signing.key_id())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8 and len(set(ids)) == 1
    (file,) = (tmp_path / "keys").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o400
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_key_of_the_setting_is_used(tmp_path: Path, settings: Any) -> None:
    key = Ed25519PrivateKey.generate()
    settings.SIGNING_KEY = tmp_path / "given.pem"
    settings.SIGNING_KEY.write_bytes(private_pem(key))
    key.public_key().verify(base64.b64decode(signing.sign(b"text").value), b"text")
    assert not (tmp_path / "keys").exists()


def test_production_without_a_key_makes_none_and_says_the_cure(
    world: World, api: Callable[..., Api], approved: Revision, settings: Any, tmp_path: Path
) -> None:
    settings.PRODUCTION = True
    answer = api(world.viewer).get(f"/lock?model={MODEL_ID}")
    assert (answer.status, answer.code) == (503, "signing_key_missing")
    assert "ASSAY_SIGNING_KEY" in answer.error["message"] and not (tmp_path / "keys").exists()


@pytest.mark.parametrize(
    "content", [b"", b"-----BEGIN PRIVATE KEY-----\nnonsense\n", private_pem(X25519PrivateKey.generate())]
)
def test_bad_key_is_refused_without_its_text(tmp_path: Path, settings: Any, content: bytes) -> None:
    from registry.exceptions import NotConfigured

    settings.SIGNING_KEY = tmp_path / "given.pem"
    settings.SIGNING_KEY.write_bytes(content)
    with pytest.raises(NotConfigured) as refused:
        signing.sign(b"text")
    assert refused.value.code == "signing_key_unreadable" and "nonsense" not in refused.value.message
