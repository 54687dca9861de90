"""`assay audit verify`: 200 random forgeries of a database file, 200 detections; and each kind named by its row."""

from __future__ import annotations

import json
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.main import main
from tests.cli import chains
from tests.cli.chains import START, Signer, body_of, columns_of, link, stored_time

EVENTS = 120
ROOT = Path(__file__).resolve().parents[2]
Rows = list[list[Any]]


class Archive:
    """A whole database, its witness and its key; `verify(path)` runs the command against a copy."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self.capsys = folder, capsys
        self.database = folder / "whole.sqlite3"
        chains.make(self.database, EVENTS)
        self.signer = Signer(folder)
        self.witness = self.signer.witness(
            self.database, folder / "auditevent.checkpoints", [1, 40, 77, EVENTS]
        )

    def verify(
        self, database: Path | None = None, *more: str, strict: bool = False
    ) -> tuple[int, dict[str, Any]]:
        code = main(
            [
                "audit", "verify", "--database", str(database or self.database), "--checkpoints", str(self.witness),
                "--public-key", str(self.signer.pem), "--format", "json", *(["--strict"] if strict else []), *more,
            ]
        )  # fmt: skip
        return code, json.loads(self.capsys.readouterr().out)

    def copy(self) -> Path:
        path = self.folder / "copy.sqlite3"
        path.unlink(missing_ok=True)
        shutil.copyfile(self.database, path)
        return path

    def forge(self, change: Callable[[Rows], Rows]) -> Path:
        """A copy whose events are what `change` makes of them."""
        path = self.copy()
        connection = sqlite3.connect(path)
        rows = [list(row) for row in connection.execute("SELECT * FROM registry_auditevent ORDER BY seq")]
        connection.execute("DELETE FROM registry_auditevent")
        marks = ", ".join("?" * 10)
        connection.executemany(f"INSERT INTO registry_auditevent VALUES ({marks})", change(rows))
        connection.commit()
        connection.close()
        return path


@pytest.fixture
def archive(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Archive:
    return Archive(tmp_path, capsys)


def rules(report: dict[str, Any]) -> set[str]:
    return {finding["rule"] for finding in report["findings"] if finding["fails"]}


def lines(report: dict[str, Any]) -> set[int]:
    return {finding["line"] for finding in report["findings"] if finding["fails"]}


def test_whole_chain_passes_and_says_what_was_checked(archive: Archive) -> None:
    code, report = archive.verify()
    assert (code, report["findings"]) == (0, [])
    assert "auditevent: 120 events" in report["checked"] and "4 checkpoints in 1 file" in report["checked"]


# --- 200 forgeries --------------------------------------------------------------------------------------------------------


def relinked(rows: Rows, start: int) -> Rows:
    """What a careful forger does: numbers and hashes fit again from row `start` on."""
    prev = rows[start - 1][4] if start else b"\0" * 32
    for index in range(start, len(rows)):
        row = rows[index]
        row[0], row[3] = index + 1, prev
        at = datetime.fromisoformat(row[1]).replace(tzinfo=UTC)
        row[4] = prev = link(index + 1, prev, at, row[2])
    return rows


def change_body(rows: Rows, at: int, dice: random.Random) -> None:
    body = json.loads(rows[at][2])
    body["data"]["items"] = f"forged {dice.random()}"
    rows[at][2] = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def change_actor(rows: Rows, at: int, dice: random.Random) -> None:
    body = json.loads(rows[at][2])
    body["actor"] = 90 + dice.randrange(9)
    rows[at][2] = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    rows[at][6] = body["actor"]


def change_time(rows: Rows, at: int, dice: random.Random) -> None:
    rows[at][1] = stored_time(START - timedelta(days=dice.randrange(1, 300)))


def change_hash(rows: Rows, at: int, dice: random.Random) -> None:
    rows[at][4] = dice.randbytes(32)


def delete(rows: Rows, at: int, dice: random.Random) -> None:
    del rows[at]


def insert(rows: Rows, at: int, dice: random.Random) -> None:
    body = body_of(5000 + dice.randrange(1000))
    rows.insert(at, [0, rows[at][1], body, rows[at][3], dice.randbytes(32), *columns_of(body)])


def reorder(rows: Rows, at: int, dice: random.Random) -> None:
    other = (at + dice.randrange(1, len(rows))) % len(rows)
    rows[at], rows[other] = rows[other], rows[at]


CHANGES = (change_body, change_actor, change_time, change_hash, delete, insert, reorder)


def forgery(number: int) -> tuple[str, Callable[[Rows], Rows], int]:
    """(kind, what it does to the rows, first seq that it touches), drawn by the number as seed."""
    dice = random.Random(number)
    kind = dice.choice(("cut", "older", *(change.__name__ for change in CHANGES * 2)))
    at, careful = dice.randrange(EVENTS), dice.random() < 0.5

    def cut(rows: Rows) -> Rows:
        return rows[: len(rows) - dice.randrange(1, 30)]

    def older(rows: Rows) -> Rows:
        """An old backup that life went on from: as many events as before, or more."""
        kept = rows[:at]
        for seq in range(at + 1, EVENTS + dice.randrange(20) + 2):
            body = body_of(seq + 3000)
            kept.append([seq, stored_time(START + timedelta(days=seq)), body, b"", b"", *columns_of(body)])
        return relinked(kept, at)

    def plain(rows: Rows) -> Rows:
        change = next(change for change in CHANGES if change.__name__ == kind)
        change(rows, at, dice)
        if kind in ("delete", "insert", "reorder"):
            for index, row in enumerate(rows):
                row[0] = index + 1  # the number is the row's key: a gap alone would be the easy case
        return relinked(rows, 0) if careful and kind != "change_hash" else rows

    return kind, {"cut": cut, "older": older}.get(kind, plain), at


def test_200_random_forgeries_are_200_detections(archive: Archive) -> None:
    missed, kinds = [], set()
    for number in range(200):
        kind, change, _ = forgery(number)
        kinds.add(kind)
        code, report = archive.verify(archive.forge(change))
        named = [f for f in report["findings"] if f["fails"] and re.search(r"[Ee]vents? \d+", f["message"])]
        if code != 1 or not named or not all(f["line"] for f in named):
            missed.append((number, kind, report["findings"]))
    assert missed == []
    assert kinds == {"cut", "older", *(change.__name__ for change in CHANGES)}


# --- each kind, named -----------------------------------------------------------------------------------------------------


def at_row(change: Callable[..., None], at: int, careful: bool = False) -> Callable[[Rows], Rows]:
    def act(rows: Rows) -> Rows:
        change(rows, at, random.Random(1))
        return relinked(rows, at) if careful else rows

    return act


@pytest.mark.parametrize(
    ("change", "rule", "line"),
    [
        (at_row(change_body, 9), "audit-changed", 10),
        (at_row(change_actor, 9), "audit-changed", 10),
        (at_row(change_time, 9), "audit-changed", 10),
        (at_row(change_hash, 9), "audit-changed", 10),
        (at_row(change_hash, 9), "audit-order", 11),
        (at_row(delete, 9), "audit-gap", 11),
        (at_row(change_body, 50, careful=True), "audit-rewritten", 77),
        (at_row(change_body, EVENTS - 1, careful=True), "audit-rewritten", EVENTS),
        (lambda rows: rows[:-1], "audit-cut", EVENTS),
        (lambda rows: rows[:60], "audit-cut", 61),
        (lambda rows: [], "audit-cut", 1),
        (lambda rows: [[*row[:5], "token.created", *row[6:]] if row[0] == 7 else row for row in rows], "audit-columns", 7),
        (lambda rows: [[*row[:9], 99] if row[0] == 7 else row for row in rows], "audit-columns", 7),
        (lambda rows: relinked([[*row[:2], "not JSON", *row[3:]] if row[0] == EVENTS else row for row in rows], EVENTS - 1),
         "audit-changed", EVENTS),
    ],
)  # fmt: skip
def test_forgery_is_named_by_its_row(
    archive: Archive, change: Callable[[Rows], Rows], rule: str, line: int
) -> None:
    code, report = archive.verify(archive.forge(change))
    assert code == 1
    assert (rule, line) in {(f["rule"], f["line"]) for f in report["findings"]}


def test_one_changed_row_is_one_finding(archive: Archive) -> None:
    """All that follows is as it was written: naming it, too, would hide the place."""
    _, report = archive.verify(archive.forge(at_row(change_body, 9)))
    assert [(f["rule"], f["line"]) for f in report["findings"]] == [("audit-changed", 10)]


def test_without_a_checkpoint_a_cut_end_is_not_seen_and_the_command_says_so(archive: Archive) -> None:
    cut = archive.forge(lambda rows: rows[:-3])
    arguments = ["audit", "verify", "--database", str(cut)]
    assert main(arguments) == 0
    assert "[checkpoint-missing]" in archive.capsys.readouterr().out
    assert main([*arguments, "--strict"]) == 1


def test_events_after_the_last_checkpoint_are_told(archive: Archive) -> None:
    copy = archive.copy()
    connection = sqlite3.connect(copy)
    chains.fill(connection, "auditevent", 4, start=EVENTS + 1)
    connection.commit()
    connection.close()
    code, report = archive.verify(copy)
    assert code == 0
    assert [f["message"] for f in report["findings"]] == [
        "The last 4 events of auditevent are younger than every checkpoint."
    ]


# --- checkpoints ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("\n77\n", "\n78\n"),
        lambda text: text.replace("assay.example/auditevent", "assay.example/accessevent", 1),
        lambda text: text + "assay.example/auditevent\n121\n",
        lambda text: text.replace("\u2014 assay.example ", "\u2014 assay.example AAAA", 1),
        lambda text: "some words\n" + text,
    ],
)
def test_forged_or_torn_checkpoint_is_named(archive: Archive, spoil: Callable[[str], str]) -> None:
    archive.witness.write_text(spoil(archive.witness.read_text(encoding="utf-8")), encoding="utf-8")
    code, report = archive.verify()
    assert code == 1 and "checkpoint-invalid" in rules(report) and lines(report)


def test_checkpoint_of_another_key_is_refused(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Signer(tmp_path / "other")
    other.witness(archive.database, archive.witness, [EVENTS])
    code, report = archive.verify()
    assert code == 1 and rules(report) == {"checkpoint-invalid"}


def test_a_second_witness_sees_what_the_first_was_made_to_forget(archive: Archive) -> None:
    second = archive.signer.witness(archive.database, archive.folder / "second.log", [EVENTS])
    archive.witness.write_text("", encoding="utf-8")
    cut = archive.forge(lambda rows: rows[:100])
    code, report = archive.verify(cut, "--checkpoints", str(second))
    assert code == 1 and rules(report) == {"audit-cut"}


# --- what cannot be checked -----------------------------------------------------------------------------------------------


def test_what_is_no_database_cannot_be_checked(archive: Archive, tmp_path: Path) -> None:
    empty, words = tmp_path / "empty.sqlite3", tmp_path / "words.sqlite3"
    sqlite3.connect(empty).close()
    words.write_text("no database at all " * 300)
    for path in (empty, words, tmp_path / "nowhere"):
        code, report = archive.verify(path)
        assert code == 2 and report["problems"], path


def test_unreadable_checkpoints_and_keys_cannot_be_checked(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    for more in (["--checkpoints", str(tmp_path / "none")], ["--checkpoints", str(tmp_path / "bare")]):
        code, report = archive.verify(None, *more)
        assert code == 2 and report["problems"]
    archive.signer.pem.write_text("no key")
    assert archive.verify()[0] == 2


def test_command_needs_neither_django_nor_torch(archive: Archive) -> None:
    code = (
        "import sys; from cli.main import main; "
        f"rc = main(['audit', 'verify', '--database', {str(archive.database)!r}]); "
        "print({'django', 'torch', 'registry'} & set(sys.modules), rc)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set() 0"
