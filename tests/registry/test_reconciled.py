"""`assay audit verify` against a whole installation: what was changed, removed or put in past the services is named."""

from __future__ import annotations

import importlib
import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection, transaction

from cli.main import main
from cli.tables import BESIDE
from cli.tables import TABLES as RECONCILED
from cli.tables import answers as answers_of_reviews
from cli.tables import mentions as mentions_in_comments
from cli.tables.common import Table, day, is_set, when
from registry import checkpoints
from registry.models import ApiToken, AuditEvent
from reviews.models import CodeWaiver, FileVerdict, ReviewComment, ReviewRequest, Waiver
from tests.house.rules import without_rules
from tests.registry.office import Office, address

pytestmark = pytest.mark.django_db(transaction=True)
Raw = Callable[..., int]
ROOT = Path(__file__).resolve().parents[2]


def own() -> Path:
    return checkpoints.places()[0]


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
     "record-differs: Approval {a}: its environment “production” is not what event {granted} (approval.granted) says."),
    ("UPDATE registry_approval SET expires_at = '2099-01-01 00:00:00+00' WHERE id = {a}",
     "record-differs: Approval {a}: its end is not what event {granted} (approval.granted) says."),
    ("UPDATE registry_approval SET approved_by_id = {other} WHERE id = {a}",
     "record-differs: Approval {a}: its approver is not what event {granted} (approval.granted) says."),
    ("UPDATE registry_channel SET current_id = {a}",
     "record-differs: Channel {channel} points at approval {a}, and its last move at {b}."),
    ("UPDATE registry_channelmove SET to_approval_id = {b} WHERE number = 1",
     "record-differs: Move 1 of channel {channel}: its approval is not what event {moved} (channel.moved) says."),
    ("DELETE FROM registry_channelmove WHERE number = 2",
     "event-without-record: Move 2 of staging of acme/sentiment-vi-en, of event {moved2}, is not there any more."),
    ("INSERT INTO registry_membership (user_id, team_id, role) VALUES ({other}, {team}, 'viewer')",
     "record-without-event: The role viewer of user {other} in team {team} has no event in the log."),
    ("UPDATE registry_membership SET role = 'admin' WHERE role = 'submitter'",
     "record-differs: The role admin of user {submitter} in team {team}: its role “admin” is not what event {role} "
     "(membership.granted) says."),
    ("DELETE FROM registry_membership WHERE role = 'auditor'",
     "event-without-record: The role Auditor of event {auditor} is not there any more."),
    ("UPDATE registry_apitoken SET revoked_at = NULL",
     "record-differs: Token {gone}: its revocation is not what event {token} (token.revoked) says."),
    ("UPDATE registry_apitoken SET scopes = '[\"read\", \"release\"]' WHERE name = 'kept'",
     "record-differs: Token {kept}: its scopes is not what event {kept_event} (token.created) says."),
    ("UPDATE registry_approval SET allowed_environments = '[\"production\"]' WHERE id = {a}",
     "record-differs: Approval {a}: its allowed environments is not what event {granted} (approval.granted) says."),
    ("UPDATE reviews_fileverdict SET reason = 'Read twice.' WHERE id = {verdict}",
     "record-differs: Verdict {verdict} on {path} of revision {coded}: its reason “Read twice.” is not what event {judged} "
     "(code.judged) says."),
    ("UPDATE reviews_codewaiver SET expires_at = '2099-01-01 00:00:00+00' WHERE id = {code_waiver}",
     "record-differs: Waiver {code_waiver} of the code audit of revision {waived}: its end is not what event {code_waived} "
     "(code.waived) says."),
    ("UPDATE reviews_waiver SET ended_at = NULL, ended_by_id = NULL WHERE id = {waiver}",
     "record-differs: Waiver {waiver} of house-rules/sure for revision {coded}: its early end is not what event "
     "{waiver_ended} (waiver.ended) says."),
    ("UPDATE reviews_vote SET roles = '[\"reviewer\", \"legal\"]' WHERE id = {vote}",
     "record-differs: Vote {vote} of user {voter} on review {review}: its roles is not what event {voted} (review.voted) "
     "says."),
    ("UPDATE reviews_answer SET text = 'Somebody else said so.' WHERE request_id = {review} AND key = 'license'",
     "record-differs: The answer to license of review {review} is not what event {answered} (review.answered) says."),
    ("UPDATE reviews_reviewcomment SET text = 'It is fine.' WHERE id = {comment}",
     "record-differs: Comment {comment} on review {review}: its text is not what event {commented} (review.commented) says."),
    ("UPDATE reviews_reviewcomment SET kind = 'comment' WHERE id = {asked}",
     "record-differs: Comment {asked} on review {sent_back}: its kind “comment” is not what event {asked_event} "
     "(review.commented) says."),
    ("DELETE FROM reviews_mention WHERE comment_id = {comment} AND user_id = {submitter}",
     "event-without-record: The mention of user {submitter} in comment {comment}, of event {commented}, is not there any "
     "more."),
    ("INSERT INTO reviews_mention (comment_id, user_id) VALUES ({comment}, {voter})",
     "record-without-event: The mention of user {voter} in comment {comment} has no event in the log."),
    ("DELETE FROM registry_apitoken WHERE name = 'kept'",
     "event-without-record: Token 'kept' of event {kept_event} is not there any more."),
]  # fmt: skip


def facts(office: Office) -> dict[str, Any]:
    from registry.models import ApiToken, Channel, Membership

    def event(verb: str, pk: int, nth: int = 0) -> int:
        return int(AuditEvent.objects.filter(verb=verb, object_id=pk).order_by("seq")[nth].seq)

    a, b, c = (approval.pk for approval in office.approvals)
    review = ReviewRequest.objects.get(approval=a)
    vote, verdict = review.votes.order_by("pk")[0], FileVerdict.objects.order_by("pk")[0]
    code_waiver, waiver = CodeWaiver.objects.order_by("pk")[0], Waiver.objects.order_by("pk")[0]
    comment = review.comments.order_by("pk")[0]
    asked = ReviewComment.objects.get(kind="change")
    channel = Channel.objects.get().pk
    roles = {m.role: m.pk for m in Membership.objects.all()}
    kept, gone = ApiToken.objects.get(name="kept"), ApiToken.objects.get(name="gone")
    return {
        "a": a, "b": b, "c": c, "channel": channel, "team": office.team.pk, "granted": event("approval.granted", a),
        "suspended": event("approval.suspended", c), "moved": event("channel.moved", channel),
        "moved2": event("channel.moved", channel, 1), "other": office.user("admin").pk,
        "submitter": office.user("submitter").pk, "role": event("membership.granted", roles["submitter"]),
        "auditor": event("membership.granted", roles["auditor"]), "gone": gone.public_id, "kept": kept.public_id,
        "review": review.pk, "vote": vote.pk, "voter": vote.reviewer_id, "voted": event("review.voted", review.pk),
        "answered": event("review.answered", review.pk), "verdict": verdict.pk, "path": verdict.path,
        "coded": verdict.revision_id, "judged": event("code.judged", verdict.revision_id), "code_waiver": code_waiver.pk,
        "waived": code_waiver.revision_id, "code_waived": event("code.waived", code_waiver.revision_id), "waiver": waiver.pk,
        "waiver_ended": event("waiver.ended", waiver.pk),
        "comment": comment.pk, "commented": event("review.commented", review.pk), "asked": asked.pk,
        "sent_back": asked.request_id, "asked_event": event("review.commented", asked.request_id),
        "token": event("token.revoked", gone.pk), "kept_event": event("token.created", kept.pk),
    }  # fmt: skip


def test_command_names_each_row_that_was_changed_past_the_services(
    office: Office, command: Callable[..., tuple[int, set[str]]], raw: Raw
) -> None:
    known, undo = facts(office), _copy_of_tables()
    with without_rules(connection):
        for sql, sentence in TAMPERING:
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
    "reviews_fileverdict",
    "reviews_codewaiver",
    "reviews_waiver",
    "reviews_vote",
    "reviews_answer",
    "reviews_reviewcomment",
    "reviews_mention",
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


# --- every column of every table, in both directions -------------------------------------------------------------------

NEEDED = (
    "registry_auditevent", "registry_accessevent", "registry_channel", "reviews_policy", "reviews_checklisttemplate",
    "registry_revisionfile", "registry_blob",
)  # fmt: skip
PHYSICAL = sorted({*(t.name for t in RECONCILED), *NEEDED, *BESIDE})
# The row that is forged, where not every row has all that is compared.
WHOLE = {
    "reviews_reviewrequest": "decision <> ''", "reviews_waiver": "ended_at IS NOT NULL",
    "reviews_codewaiver": "ended_at IS NOT NULL", "registry_apitoken": "revoked_at IS NOT NULL",
    "registry_channelmove": "from_approval_id IS NOT NULL",
}  # fmt: skip
STATEMENT = {"payload": "e30=", "payloadType": "application/vnd.in-toto+json", "signatures": []}


class Bare:
    """The rows of an installation in a file without rules and constraints, as the owner of a database can leave it."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.file, self.kept, self.capsys = sqlite3.connect(path), path.with_suffix(".kept"), capsys

    @staticmethod
    def write(path: Path) -> None:
        file = sqlite3.connect(path)
        with connection.cursor() as cursor:
            for table in PHYSICAL:
                cursor.execute(f"SELECT * FROM {table}")
                names = [column[0] for column in cursor.description]
                marks = ", ".join("?" * len(names))
                file.execute(f"CREATE TABLE {table} ({', '.join(names)})")
                rows = [[_stored(value) for value in row] for row in cursor.fetchall()]
                file.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
        file.commit()
        file.close()

    def one(self, sql: str) -> Any:
        found = self.file.execute(sql).fetchone()
        assert found is not None, sql
        return found[0]

    def findings(self, sql: str, *params: Any) -> set[tuple[str, str]]:
        """{(rule, table)} of what the command finds after one forgery of a copy."""
        self.kept.unlink(missing_ok=True)
        copy = sqlite3.connect(self.kept)
        self.file.backup(copy)
        assert copy.execute(sql, params).rowcount >= 1, sql
        copy.commit()
        copy.close()
        main(["audit", "verify", "--database", str(self.kept), "--format", "json"])
        report = json.loads(self.capsys.readouterr().out)
        assert report["problems"] == [], (sql, report["problems"])
        return {(f["rule"], f["path"].rpartition(":")[2]) for f in report["findings"] if f["fails"]}


def _stored(value: Any) -> Any:
    """A value of either database as SQLite keeps it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ")
    if isinstance(value, memoryview):
        return bytes(value)
    return value.isoformat() if isinstance(value, date) else value


def _place(table: Table, sql: str) -> tuple[str, str]:
    """(physical table, column) of what a description calls `CAST(a.use_cases AS TEXT)`."""
    named = re.sub(r"^CAST\((.*) AS TEXT\)$", r"\1", sql)
    prefix, _, column = named.rpartition(".")
    names = dict(re.findall(r"(\w+_\w+) (\w)\b", table.rows)) if prefix else {}
    return {alias: name for name, alias in names.items()}.get(prefix, table.name), column


def _other(value: Any, read: Callable[[Any], Any]) -> Any:
    """What the column does not say, of its own kind."""
    if value is None:
        return "2031-01-01 00:00:00" if read in (when, is_set, day) else 777
    if read is is_set:
        return None
    if isinstance(value, int):
        return value + 1 if value not in (0, 1) else 1 - value
    if read in (when, day):
        return "2031-01-01 00:00:00"
    if value.startswith("{"):
        return json.dumps(STATEMENT if "payload" in value else {"forged": 1})
    return '["forged"]' if value.startswith("[") else f"{value}x"


_written: list[Path] = []


@pytest.fixture
def bare(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> Bare:
    """The rows are made once for all the tests below: each forges a copy."""
    if not _written:
        request.getfixturevalue("office")
        _written.append(tmp_path_factory.mktemp("bare") / "bare.sqlite3")
        Bare.write(_written[0])
    return Bare(_written[0], capsys)


def _target(bare: Bare, table: Table) -> Any:
    """The number of the row that is forged."""
    where = WHOLE.get(table.name, "1=1")
    return bare.one(f"SELECT MIN({table.key.rpartition('.')[2]}) FROM {table.name} WHERE {where}")


def test_every_column_that_is_compared_is_named_when_it_was_changed(bare: Bare) -> None:
    missed = []
    for table in RECONCILED:
        pk, key = _target(bare, table), table.key.rpartition(".")[2]
        for column in table.columns:
            if "||" in column.sql:
                continue  # put together of two others
            place, name = _place(table, column.sql)
            rows = table.rows if "JOIN" in table.rows else f"{table.name}"
            row = bare.one(f"SELECT {_row_of(place, table)} FROM {rows} WHERE {table.key} = {pk}")
            was = bare.one(f"SELECT {name} FROM {place} WHERE {key if place == table.name else 'id'} = {row}")
            sql = f"UPDATE {place} SET {name} = ? WHERE {key if place == table.name else 'id'} = {row}"
            if ("record-differs", table.name) not in bare.findings(sql, _other(was, column.read)):
                missed.append((table.name, column.name, was, _other(was, column.read)))
    assert missed == []


def _row_of(place: str, table: Table) -> str:
    if place == table.name:
        return table.key
    return next(f"{alias}.id" for name, alias in re.findall(r"(\w+_\w+) (\w)\b", table.rows) if name == place)


def test_row_that_was_removed_and_row_that_was_put_in_are_named(bare: Bare) -> None:
    missed = []
    for table in RECONCILED:
        pk, key = _target(bare, table), table.key.rpartition(".")[2]
        names = [row[1] for row in bare.file.execute(f"PRAGMA table_info({table.name})")]
        values = ", ".join("987654" if name == key else name for name in names)
        acts = {
            "event-without-record": f"DELETE FROM {table.name} WHERE {key} = {pk}",
            "record-without-event": f"INSERT INTO {table.name} SELECT {values} FROM {table.name} WHERE {key} = {pk}",
        }
        missed += [
            (rule, table.name) for rule, sql in acts.items() if (rule, table.name) not in bare.findings(sql)
        ]
    assert missed == []


def test_answers_and_lists_of_files_are_named_too(bare: Bare) -> None:
    answer = bare.one("SELECT MIN(id) FROM reviews_answer")
    for change in (
        "text = 'x'",
        "verdict = 'concern'",
        "value = '\"no\"'",
        "version = 9",
        "by_id = 9",
        "key = 'other'",
    ):
        found = bare.findings(f"UPDATE reviews_answer SET {change} WHERE id = {answer}")
        assert {rule for rule, table in found if table == "reviews_answer"}, change
    assert bare.findings(f"DELETE FROM reviews_answer WHERE id = {answer}") == {
        ("event-without-record", "reviews_answer")
    }
    for change in ("UPDATE registry_blob SET size = size + 1", "DELETE FROM registry_revisionfile",
                   "UPDATE registry_revisionfile SET path = path || 'x'"):  # fmt: skip
        assert bare.findings(change) == {("record-differs", "registry_revisionfile")}, change


def test_mentions_are_named_too(bare: Bare) -> None:
    mention = bare.one("SELECT MIN(id) FROM reviews_mention")
    gone, there = {("event-without-record", "reviews_mention")}, {("record-without-event", "reviews_mention")}
    assert bare.findings(f"DELETE FROM reviews_mention WHERE id = {mention}") == gone
    added = "INSERT INTO reviews_mention SELECT 987654, comment_id, 777 FROM reviews_mention WHERE id = ?"
    assert bare.findings(added, mention) == there
    for column in ("comment_id", "user_id"):
        forged = f"UPDATE reviews_mention SET {column} = 777 WHERE id = {mention}"
        assert bare.findings(forged) == gone | there, column


def test_what_nobody_touched_is_whole(bare: Bare) -> None:
    """Otherwise every finding above could be about something else."""
    assert bare.findings("UPDATE registry_blob SET size = size") == set()


def test_document_lists_every_table_and_column() -> None:
    text = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+_\w+)` \| (.*) \|$", text, flags=re.MULTILINE))
    due = {table.name: ", ".join(column.name for column in table.columns) for table in RECONCILED}
    assert rows == due | {
        answers_of_reviews.TABLE: "verdict, value, text, version, person, by their digest",
        mentions_in_comments.TABLE: "comment, person",
    }


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
