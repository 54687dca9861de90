"""`assay verify` and `assay audit verify`: a lock file against its signature, a registry, local copies and Python sources.

Exit codes: 0 nothing is wrong, 1 something is, 2 something could not be checked (and nothing was found wrong).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from cli import attestation, audit, document, folders, output, sources
from cli.document import Lock
from cli.findings import CannotCheck, Finding, Report
from cli.registry import Registry

CODES = "Exit codes: 0 nothing is wrong; 1 something is; 2 something could not be checked."
FORMATS: dict[str, Callable[[Report], str]] = {
    "text": output.as_text,
    "json": output.as_json,
    "sarif": output.as_sarif,
}


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    report: Report = options.check(options)
    text = FORMATS[options.format](report)
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except UnicodeEncodeError:
        sys.stdout.buffer.write(text.encode("utf-8"))
    return report.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="assay", description="Checks models against what Assay has approved."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_verify(
        commands.add_parser("verify", help="check a lock file, local copies and Python sources", epilog=CODES)
    )
    about = commands.add_parser("audit", help="check the audit log").add_subparsers(
        dest="what", required=True
    )
    log = about.add_parser("verify", help="links, checkpoints and tables of the audit log", epilog=CODES)
    audit.add_arguments(log)
    log.set_defaults(check=audit.verify)
    return parser


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(check=verify)
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="Python files or folders, as --sources"
    )
    parser.add_argument("--lock", type=Path, metavar="FILE", help="assay.lock.yaml (or its JSON)")
    parser.add_argument(
        "--registry", metavar="URL", help="ask this registry whether it still approves the lock"
    )
    parser.add_argument(
        "--token-env",
        default="ASSAY_TOKEN",
        metavar="NAME",
        help="variable with the token (default: ASSAY_TOKEN)",
    )
    parser.add_argument(
        "--public-key",
        "--key",
        type=Path,
        metavar="FILE",
        help="PEM of the key that signed the lock or the attestation",
    )
    parser.add_argument(
        "--attestation", type=Path, metavar="FILE", help="a decision's signed attestation (DSSE)"
    )
    parser.add_argument(
        "--snapshot", action="append", default=[], metavar="[ORG/NAME=]DIR",
        help="a folder with a locked model's files; name the model when the lock holds several",
    )  # fmt: skip
    parser.add_argument(
        "--hf-cache", nargs="?", const="", metavar="DIR",
        help="a Hugging Face cache; without DIR the one that huggingface_hub uses",
    )  # fmt: skip
    parser.add_argument(
        "--partial", action="store_true", help="missing files of a local copy are notes, not errors"
    )
    parser.add_argument(
        "--sources", nargs="+", default=[], type=Path, metavar="PATH", help="Python files or folders"
    )
    parser.add_argument("--strict", action="store_true", help="warnings fail, too")
    parser.add_argument("--format", choices=sorted(FORMATS), default="text", help="default: text")


def verify(options: argparse.Namespace) -> Report:
    """Runs every check that was asked for; one that cannot be made does not stop the others."""
    report = Report(strict=options.strict)
    paths: list[Path] = [*options.sources, *options.paths]
    if options.attestation:
        return _check_attestation(report, options)
    asks_lock = options.registry or options.public_key or options.snapshot or options.hf_cache is not None
    if not options.lock and asks_lock:
        report.problems.append("--registry, --public-key, --snapshot and --hf-cache need --lock FILE.")
    elif not options.lock and not paths:
        report.problems.append("Nothing to check: give --lock FILE, --sources PATH, or both.")
    if report.problems:
        return report
    lock = _check_lock(report, options) if options.lock else None
    if lock is not None:
        for given in options.snapshot:
            _attempt(report, _check_snapshot, report, lock, given, options.partial)
        if options.hf_cache is not None:
            _attempt(report, _check_cache, report, lock, options.hf_cache, options.partial)
    if paths and (lock is not None or not options.lock):
        _check_sources(report, paths, lock)
    return report


def _check_attestation(report: Report, options: argparse.Namespace) -> Report:
    """By itself, with its signature; and folders against the files that it names."""
    if options.lock or options.registry or options.hf_cache is not None or options.paths or options.sources:
        report.problems.append("--attestation is checked alone: with --key and --snapshot, nothing else.")
        return report
    try:
        pem = options.public_key.read_bytes() if options.public_key else None
        model, report.findings = attestation.check(options.attestation, pem, datetime.now(UTC))
        if model is None:
            return report
        report.checked.append(f"{options.attestation}: approval {model.approval_id} of {model.short}")
        for folder in options.snapshot:
            report.findings += folders.check_snapshot(Path(folder), model, partial=options.partial)
            report.checked.append(f"{folder} against {model.short}")
    except OSError as error:
        report.problems.append(f"{options.public_key} cannot be read: {error.strerror or error}.")
    except CannotCheck as problem:
        report.problems.append(str(problem))
    return report


def _attempt(report: Report, check: Callable[..., list[Finding]], *arguments: object) -> None:
    try:
        report.findings += check(*arguments)
    except CannotCheck as problem:
        report.problems.append(str(problem))


def _check_lock(report: Report, options: argparse.Namespace) -> Lock | None:
    """Signature first, for nothing else in the file is worth a look before; then its content, then the registry's word."""
    name = str(options.lock)
    registry = None
    try:
        raw = document.read_raw(options.lock)
    except CannotCheck as problem:
        report.problems.append(str(problem))
        return None
    try:
        if options.registry:
            registry = Registry(options.registry, os.environ.get(options.token_env, "").strip())
    except CannotCheck as problem:
        report.problems.append(str(problem))
    _attempt(report, _signature, report, options, raw, registry)
    try:
        lock, findings = document.check_content(name, raw, datetime.now(UTC))
    except CannotCheck as problem:
        report.problems.append(str(problem))
        return None
    report.findings += findings
    count = len(lock.models)
    report.checked.append(f"{name}: {count} model{'s' if count != 1 else ''}")
    if registry is not None:
        _attempt(report, _ask, report, lock, registry)
    return lock


def _signature(
    report: Report, options: argparse.Namespace, raw: dict[str, object], registry: Registry | None
) -> list[Finding]:
    name = str(options.lock)
    pem: bytes | None = None
    if options.public_key:
        try:
            pem = options.public_key.read_bytes()
        except OSError as error:
            raise CannotCheck(f"{options.public_key} cannot be read: {error.strerror or error}.") from error
    elif registry is not None and document.signed_by(raw):
        pem = registry.public_key(document.signed_by(raw))
        if pem is None:
            sentence = f"{registry.url} publishes no key {document.signed_by(raw)[:40]!r}, with which the lock is signed."
            return [Finding("signature-unknown-key", sentence, name)]
    found = document.check_signature(name, raw, pem)
    if pem is not None and not found:
        report.checked.append(f"signature by key {document.signed_by(raw)}")
    return found


def _ask(report: Report, lock: Lock, registry: Registry) -> list[Finding]:
    found = registry.check(lock)
    report.checked.append(f"the registry {registry.url}")
    return found


def _check_snapshot(report: Report, lock: Lock, given: str, partial: bool) -> list[Finding]:
    model_id, has_id, folder = given.partition("=")
    if has_id and model_id in lock.models:
        model = lock.models[model_id]
    elif len(lock.models) == 1:
        model, folder = next(iter(lock.models.values())), given
    else:
        raise CannotCheck(
            f"--snapshot {given}: the lock holds several models; write --snapshot org/name=DIR."
        )
    found = folders.check_snapshot(Path(folder), model, partial=partial)
    report.checked.append(f"{folder} against {model.short}")
    return found


def _check_cache(report: Report, lock: Lock, given: str, partial: bool) -> list[Finding]:
    cache = Path(given) if given else folders.default_cache(dict(os.environ))
    found, compared = folders.check_cache(cache, lock, partial=partial)
    report.checked.append(f"{cache}: {compared} locked snapshot{'s' if compared != 1 else ''}")
    return found


def _check_sources(report: Report, paths: list[Path], lock: Lock | None) -> None:
    count = 0
    for path in paths:
        try:
            files = sources.python_files([path])
        except CannotCheck as problem:
            report.problems.append(str(problem))
            continue
        count += len(files)
        for file in files:
            _attempt(report, sources.check_file, file, lock)
    report.checked.append(f"{count} Python file{'s' if count != 1 else ''}")
