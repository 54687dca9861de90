"""`assay audit verify`: the audit log against its own links, the signed checkpoints outside, and the tables."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cli import document, ledgers, notes, tables
from cli.chain import walk
from cli.findings import CannotCheck, Finding, Report
from cli.ledgers import CHAINS, Export, Ledger
from cli.notes import Note


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--database", metavar="PATH|URL", help="a SQLite file, or postgresql://…")
    source.add_argument("--events", type=Path, metavar="FILE", help="JSONL of `manage.py export_audit`")
    parser.add_argument(
        "--checkpoints", action="append", default=[], type=Path, metavar="PATH",
        help="a checkpoint file, or a folder of them; repeat it for each witness",
    )  # fmt: skip
    parser.add_argument(
        "--public-key", type=Path, metavar="FILE", help="PEM of the key that signs checkpoints"
    )
    parser.add_argument("--strict", action="store_true", help="warnings fail, too")
    parser.add_argument("--format", choices=["json", "text"], default="text", help="default: text")


def verify(options: argparse.Namespace) -> Report:
    report = Report(strict=options.strict)
    try:
        seen = _notes(report, options)
        if options.database:
            with ledgers.opened(options.database) as database:
                told = _chains(report, database, seen)
                report.findings += tables.compare(database, told)
                report.checked.append(
                    f"{len(tables.TABLES) + len(tables.BESIDE)} tables against their events"
                )
        else:
            _chains(report, Export(options.events), seen)
    except CannotCheck as problem:
        report.problems.append(str(problem))
    return report


def _notes(report: Report, options: argparse.Namespace) -> list[Note]:
    if not options.checkpoints:
        sentence = "No checkpoint was given, so a cut end or a rewritten log would not show: give --checkpoints PATH."
        report.findings.append(Finding("checkpoint-missing", sentence, "checkpoints"))
        return []
    key = _key(options.public_key) if options.public_key else None
    if key is None:
        sentence = "The checkpoints' signatures were not checked: give --public-key FILE."
        report.findings.append(Finding("checkpoint-unchecked", sentence, "checkpoints"))
    found, findings, files = notes.read(options.checkpoints, key)
    report.findings += findings
    report.checked.append(f"{len(found)} checkpoints in {files} file{'s' if files != 1 else ''}")
    return found


def _key(path: Path) -> Any:
    try:
        return document.public_key(path.read_bytes())[0]
    except OSError as error:
        raise CannotCheck(f"{path} cannot be read: {error.strerror or error}.") from error


def _chains(report: Report, ledger: Ledger, seen: list[Note]) -> list[Any]:
    told: list[Any] = []
    for chain in CHAINS:
        mine = [note for note in seen if note.chain == chain]
        found = walk(f"{ledger.name}:{chain}", ledger.events(chain), mine, tables.WANTED)
        told += found.told if chain == "auditevent" else []
        report.findings += found.findings
        report.checked.append(f"{chain}: {found.length} events")
        newest = max((note.size for note in mine), default=0)
        if mine and newest < found.length:
            sentence = (
                f"The last {found.length - newest} events of {chain} are younger than every checkpoint."
            )
            report.findings.append(Finding("checkpoint-behind", sentence, f"{ledger.name}:{chain}"))
    return told
