"""Checkpoints: when they are written, to whom, and that the standalone command finds what was done to the database."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction

from cli.main import main
from registry import audit, checkpoints, signing, verification
from registry.actors import Actor, actor_for
from registry.enums import Role
from registry.models import ApiToken, AuditCheckpoint, AuditEvent, User
from registry.services.approvals import change_approval
from registry.services.channels import move_channel
from registry.services.teams import console_actor, create_team, grant_role, remove_role
from registry.services.tokens import create_token, revoke_token
from reviews.models import ReviewRequest
from reviews.services.deciding import decide
from tests.factories import Api, World, make_review, make_revision, make_user
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


# --- the command against a real database -----------------------------------------------------------------------------


class Office:
    """An installation whose every row was made by a service, so that each has its event."""

    def __init__(self, folder: Path) -> None:
        root = console_actor(make_user("root", is_superuser=True))
        self.team = create_team(actor=root, slug="acme", name="Acme")
        self.people: dict[str, Actor] = {}
        for role in Role:
            user = make_user(role.value)
            grant_role(actor=root, user=user, team=self.team, role=role)
            self.people[role] = actor_for(user, self.team, auth_method="session")
        remove_role(actor=root, user=self.user("viewer"), team=self.team, role="viewer")
        create_token(actor=self.people["submitter"], name="kept", scopes=["read"], days=9)
        gone, _ = create_token(actor=self.people["submitter"], name="gone", scopes=["read", "infer"], days=9)
        revoke_token(actor=self.people["submitter"], token_pk=gone.pk)
        self.approvals = [self.approve(sha * 40) for sha in "abc"]
        for approval in self.approvals[:2]:
            self.move(approval)
        change_approval(
            actor=self.people["admin"],
            approval=self.approvals[2],
            action="suspend",
            reason="A finding came in.",
        )
        checkpoints.write_all()
        self.pem = folder / "key.pub.pem"
        self.pem.write_text(signing.public_key_pem())

    def user(self, role: str) -> User:
        return User.objects.get(username=role)

    def approve(self, sha: str) -> Any:
        world = World(team=self.team, other=None, server=None, **self.people)  # type: ignore[arg-type]
        request: ReviewRequest = make_review(world, make_revision(self.team, sha), answered=True)
        return decide(actor=self.people["reviewer"], request_pk=request.pk, decision="approved").approval

    def move(self, approval: Any) -> None:
        move_channel(
            actor=self.people["release_manager"], model=approval.model, name="staging", approval=approval,
            reason="It is approved.",
        )  # fmt: skip


def address() -> str:
    if connection.vendor == "sqlite":
        return str(connection.settings_dict["NAME"])
    connection.ensure_connection()
    info = connection.connection.info
    parts = {
        "host": info.host,
        "port": info.port,
        "user": info.user,
        "password": info.password,
        "dbname": info.dbname,
    }
    return f"postgresql://?{urlencode({key: value for key, value in parts.items() if value})}"


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.fixture
def command(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[], tuple[int, set[str]]]]:
    def run(*source: str) -> tuple[int, set[str]]:
        where = source or ("--database", address())
        code = main(
            [
                "audit",
                "verify",
                *where,
                "--checkpoints",
                str(own()),
                "--public-key",
                str(office.pem),
                "--format",
                "json",
            ]
        )
        report = json.loads(capsys.readouterr().out)
        assert report["problems"] == []
        return code, {f"{f['rule']}: {f['message']}" for f in report["findings"] if f["fails"]}

    yield run


def test_command_finds_nothing_wrong_with_what_services_wrote(
    command: Callable[..., tuple[int, set[str]]],
) -> None:
    assert command() == (0, set())


def test_export_is_checked_without_the_database(
    command: Callable[..., tuple[int, set[str]]], tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    with file.open("w", encoding="utf-8") as out:
        call_command("export_audit", stdout=out)
    assert command("--events", str(file)) == (0, set())
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join([lines[1], lines[0], *lines[2:]]), encoding="utf-8")
    code, found = command("--events", str(file))
    assert code == 1 and any("Event 1 is missing: the next one found is 2" in sentence for sentence in found)


# What somebody does in the database's shell, and what the command answers.
TAMPERING: list[tuple[str, str]] = [
    ("UPDATE registry_approval SET status = 'active' WHERE id = {c}",
     "record-differs: Approval {c}: its status “active” is not what event {suspended} (approval.suspended) says."),
    ("UPDATE registry_approval SET environment = 'production' WHERE id = {a}",
     "record-differs: Approval {a}: its environment is not what event {granted} (approval.granted) says."),
    ("UPDATE registry_approval SET expires_at = '2099-01-01 00:00:00+00' WHERE id = {a}",
     "record-differs: Approval {a}: its end is not what event {granted} (approval.granted) says."),
    ("UPDATE registry_approval SET approved_by_id = {other} WHERE id = {a}",
     "record-differs: Approval {a}: its approver is not what event {granted} (approval.granted) says."),
    ("UPDATE registry_channel SET current_id = {a}",
     "record-differs: Channel {channel} points at approval {a}, and its last move at {b}."),
    ("UPDATE registry_channelmove SET to_approval_id = {b} WHERE number = 1",
     "record-differs: Move 1 of channel {channel}: its approval is not what event {moved} (channel.moved) says."),
    ("DELETE FROM registry_channelmove WHERE number = 2",
     "event-without-record: A move of channel {channel}, of event {moved2}, is not there any more."),
    ("INSERT INTO registry_membership (user_id, team_id, role) VALUES ({other}, {team}, 'viewer')",
     "record-without-event: The role viewer of user {other} in team {team} has no event in the log."),
    ("UPDATE registry_membership SET role = 'admin' WHERE role = 'submitter'",
     "record-differs: The role admin of user {submitter} in team {team}: its role is not what event {role} "
     "(membership.granted) says."),
    ("DELETE FROM registry_membership WHERE role = 'auditor'",
     "event-without-record: The role Auditor of event {auditor} is not there any more."),
    ("UPDATE registry_apitoken SET revoked_at = NULL",
     "record-differs: Token {gone}: its revocation is not what event {token} (token.created) says."),
    ("UPDATE registry_apitoken SET scopes = '[\"read\", \"release\"]' WHERE name = 'kept'",
     "record-differs: Token {kept}: its scopes is not what event {kept_event} (token.created) says."),
    ("DELETE FROM registry_apitoken WHERE name = 'kept'",
     "event-without-record: Token 'kept' of event {kept_event} is not there any more."),
]  # fmt: skip


def facts(office: Office) -> dict[str, Any]:
    from registry.models import ApiToken, Channel, Membership

    def event(verb: str, pk: int, nth: int = 0) -> int:
        return int(AuditEvent.objects.filter(verb=verb, object_id=pk).order_by("seq")[nth].seq)

    a, b, c = (approval.pk for approval in office.approvals)
    channel = Channel.objects.get().pk
    roles = {m.role: m.pk for m in Membership.objects.all()}
    kept, gone = ApiToken.objects.get(name="kept"), ApiToken.objects.get(name="gone")
    return {
        "a": a, "b": b, "c": c, "channel": channel, "team": office.team.pk, "granted": event("approval.granted", a),
        "suspended": event("approval.suspended", c), "moved": event("channel.moved", channel),
        "moved2": event("channel.moved", channel, 1), "other": office.user("admin").pk,
        "submitter": office.user("submitter").pk, "role": event("membership.granted", roles["submitter"]),
        "auditor": event("membership.granted", roles["auditor"]), "gone": gone.public_id, "kept": kept.public_id,
        "token": event("token.created", gone.pk), "kept_event": event("token.created", kept.pk),
    }  # fmt: skip


def test_command_names_each_row_that_was_changed_past_the_services(
    office: Office, command: Callable[..., tuple[int, set[str]]], raw: Raw
) -> None:
    known = facts(office)
    for sql, sentence in TAMPERING:
        undo = _copy_of_tables()
        with without_rules(connection):
            assert raw(sql.format(**known)) >= 1, sql
            code, found = command()
            assert code == 1 and sentence.format(**known) in found, (sql, found)
            _put_back(undo)
        assert command() == (0, set()), sql


TABLES = (
    "registry_channelmove",
    "registry_channel",
    "registry_approval",
    "registry_membership",
    "registry_apitoken",
)


def _copy_of_tables() -> dict[str, tuple[list[str], list[tuple[Any, ...]]]]:
    kept = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"SELECT * FROM {table} ORDER BY id")
            kept[table] = ([column[0] for column in cursor.description], cursor.fetchall())
    return kept


def _put_back(kept: dict[str, tuple[list[str], list[tuple[Any, ...]]]]) -> None:
    with connection.cursor() as cursor:
        for table, (columns, rows) in kept.items():
            marks = ", ".join(["%s"] * len(columns))
            for row in rows:
                sets = ", ".join(f"{column} = %s" for column in columns)
                cursor.execute(f"UPDATE {table} SET {sets} WHERE id = %s", [*row, row[columns.index("id")]])
                if cursor.rowcount == 0:
                    cursor.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", row)
            cursor.execute(f"SELECT id FROM {table}")
            known = {row[columns.index("id")] for row in rows}
            for (pk,) in cursor.fetchall():
                if pk not in known:
                    cursor.execute(f"DELETE FROM {table} WHERE id = %s", [pk])


def test_command_names_the_event_that_was_edited(
    office: Office, command: Callable[..., tuple[int, set[str]]], raw: Raw
) -> None:
    seq = facts(office)["granted"]
    with without_rules(connection):
        raw(
            "UPDATE registry_auditevent SET body = replace(body, 'staging', 'production') WHERE seq = %s", seq
        )
        code, found = command()
    assert code == 1 and f"audit-changed: Event {seq} was changed after it was written." in found


def test_command_follows_scopes_that_an_upgrade_changed(
    office: Office, command: Callable[..., tuple[int, set[str]]], raw: Raw
) -> None:
    migration = importlib.import_module("registry.migrations.0106_token_scopes")
    with transaction.atomic():
        migration.keep_powers(apps, None)
    assert command() == (0, set())
    token = ApiToken.objects.get(name="kept")
    event = AuditEvent.objects.get(verb="token.scopes_changed", object_id=token.pk)
    raw("UPDATE registry_apitoken SET scopes = '[\"read\", \"release\"]' WHERE name = 'kept'")
    sentence = f"its scopes is not what event {event.seq} (token.scopes_changed) says."
    assert command() == (1, {f"record-differs: Token {token.public_id}: {sentence}"})
