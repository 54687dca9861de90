"""Checkpoints: when they are written, to whom, and that the standalone command finds what was done to the database."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction

from registry import audit, checkpoints, verification
from registry.models import AuditCheckpoint, AuditEvent
from tests.factories import Api, World, make_review, make_revision
from tests.house.rules import without_rules

pytestmark = pytest.mark.django_db(transaction=True)
Raw = Callable[..., int]


def write(world: World, count: int = 1) -> None:
    with transaction.atomic():
        for _ in range(count):
            audit.record(actor=world.admin, verb="team.created", subject=world.team, name="Đội")


def notes(place: Path, chain: str = "auditevent") -> list[checkpoints.Note]:
    file = checkpoints.file_of(place, chain)
    return list(checkpoints.notes_in(file.read_text(encoding="utf-8"))) if file.exists() else []


def own() -> Path:
    return checkpoints.places()[0]


# --- when ------------------------------------------------------------------------------------------------------------


def test_approval_is_covered_by_a_checkpoint_when_it_is_answered(
    world: World, api: Callable[..., Api]
) -> None:
    request = make_review(world, make_revision(world.team), answered=True)
    answer = api(world.reviewer).post(f"/reviews/{request.pk}/decision", {"decision": "approved"})
    assert answer.status == 200
    receipt = answer.data["receipt"]
    event = AuditEvent.objects.get(verb="approval.granted")
    assert (receipt["seq"], receipt["hash"]) == (event.seq, bytes(event.hash).hex())
    (note,) = checkpoints.notes_in(receipt["checkpoint"])
    assert note.size >= event.seq and note.text == notes(own())[-1].text
    entry = api(world.viewer).get("/lock?model=acme/sentiment-vi-en&format=json").data["models"][0]
    assert entry["approval"]["receipt"] == receipt


def test_review_without_an_approval_has_no_receipt(world: World, api: Callable[..., Api]) -> None:
    request = make_review(world, make_revision(world.team))
    assert api(world.viewer).get(f"/reviews/{request.pk}").data["receipt"] is None


def test_rolled_back_act_is_not_witnessed(world: World) -> None:
    """A witness that had seen what was undone would cry wolf for good."""
    write(world)
    with pytest.raises(RuntimeError), transaction.atomic():
        audit.record(actor=world.admin, verb="approval.granted", subject=None)
        raise RuntimeError
    assert notes(own()) == []
    checkpoints.write("auditevent")
    assert [note.size for note in notes(own())] == [1]


def test_every_thousandth_event_asks_for_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "EVERY", 5)
    write(world, 4)
    assert notes(own()) == []
    write(world, 3)
    assert [note.size for note in notes(own())] == [7]


def test_beat_signs_only_what_grew(world: World) -> None:
    audit.record_access(actor=world.viewer, verb="access.denied", action="to peek")
    write(world, 2)
    assert checkpoints.write_all() == {"auditevent": 2, "accessevent": 1}
    assert checkpoints.write_all() == {"auditevent": 2, "accessevent": 1}
    assert [note.size for note in notes(own())] == [2] and AuditCheckpoint.objects.count() == 2


def test_approval_stands_while_no_key_or_no_folder_is_there(
    world: World, settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.PRODUCTION = True  # no key is made up there
    with transaction.atomic():
        audit.record(actor=world.admin, verb="approval.granted", subject=None)
    assert AuditEvent.objects.count() == 1 and not AuditCheckpoint.objects.exists()
    assert "no signing key" in caplog.text
    assert "no signing key" in checkpoints.state_of("auditevent").problem


# --- to whom ---------------------------------------------------------------------------------------------------------


def test_each_witness_gets_every_note(world: World, settings: Any, tmp_path: Path) -> None:
    folder, file, repository = tmp_path / "bucket", tmp_path / "all.log", tmp_path / "repository"
    subprocess.run(["git", "init", "--quiet", str(repository)], check=True)
    settings.WITNESSES = [folder, file, repository]
    for _ in range(2):
        write(world)
        audit.record_access(actor=world.viewer, verb="access.denied", action="to peek")
        checkpoints.write_all()
    assert [note.size for note in notes(folder)] == [1, 2]
    assert [(n.chain, n.size) for n in notes(file)] == [
        ("auditevent", 1), ("accessevent", 1), ("auditevent", 2), ("accessevent", 2),
    ]  # fmt: skip
    log = subprocess.run(
        ["git", "-C", str(repository), "log", "--format=%s"], check=True, capture_output=True, text=True
    )
    assert log.stdout.splitlines().count("Checkpoint of auditevent") == 2


def test_witness_that_was_away_is_brought_up_to_date(world: World, settings: Any, tmp_path: Path) -> None:
    blocked = tmp_path / "witness"
    blocked.write_text("not a folder")
    settings.WITNESSES = [blocked]
    write(world)
    assert checkpoints.write("auditevent") == 1 and len(notes(own())) == 1
    blocked.unlink()
    write(world)
    checkpoints.write("auditevent")
    assert [note.size for note in notes(blocked)] == [1, 2]


def test_state_says_how_far_each_place_has_come(world: World, settings: Any, tmp_path: Path) -> None:
    settings.WITNESSES = [tmp_path / "remote"]
    write(world, 3)
    before = checkpoints.state_of("auditevent")
    assert (before.length, before.last) == (3, None) and before.witnesses[
        1
    ].problem == "has no checkpoint yet"
    checkpoints.write("auditevent")
    state = checkpoints.state_of("auditevent")
    assert [(w.name, w.size, w.problem) for w in state.witnesses] == [
        ("this installation", 3, ""),
        ("remote", 3, ""),
    ]


# --- the page's own check --------------------------------------------------------------------------------------------


def forge_all(events: list[AuditEvent], start: int) -> None:
    """The careful forger: every link from `start` on is made to fit again."""
    prev = bytes(events[start - 1].hash) if start else audit.GENESIS
    for event in events[start:]:
        body = json.loads(event.body)
        body["data"]["name"] = "forged"
        event.body, event.prev = json.dumps(body, sort_keys=True, separators=(",", ":")), prev
        event.hash = prev = audit.link_hash(event.seq, prev, event.at, event.body)
        event.save()


def test_page_sees_a_rewritten_and_a_cut_chain(world: World, api: Callable[..., Api]) -> None:
    write(world, 4)
    checkpoints.write("auditevent")
    assert api(world.auditor).get("/audit/verify").data["ok"] is True
    length = AuditEvent.objects.count()
    checkpoints.write("auditevent")
    with without_rules(connection):
        forge_all(list(AuditEvent.objects.order_by("seq")), 1)
        assert audit.verify().ok
        found = verification.verify_chain("auditevent")
        assert not found.ok and "Event 4 or one before it was rewritten" in found.problem
        AuditEvent.objects.filter(seq__gt=2).delete()
        found = verification.verify_chain("auditevent")
        assert f"has seen {length} events, and there are 2" in found.problem
        answer = api(world.auditor).get("/audit/verify").data
        assert answer["ok"] is False and answer["chains"][0]["witnesses"][0]["problem"]
