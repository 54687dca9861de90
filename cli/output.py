"""One report in three forms: lines for people, JSON for programs, SARIF 2.1.0 for code hosts."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cli.findings import RULES, Finding, Report

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RULE_IDS = list(RULES)


def as_text(report: Report) -> str:
    """`path:line:column: severity [rule] sentence`, then what was checked and the verdict."""
    lines = []
    for finding in report.findings:
        place = ":".join([finding.path, *(str(n) for n in (finding.line, finding.column) if n)])
        reason = f" Reason given: {finding.reason}" if finding.reason else ""
        severity = "error" if report.fails(finding) else str(finding.severity)
        lines.append(f"{place}: {severity} [{finding.rule}] {finding.message}{reason}")
    lines += [f"cannot check: {problem}" for problem in report.problems]
    lines += [f"checked: {what}" for what in report.checked]
    wrong = sum(report.fails(finding) for finding in report.findings)
    verdict = {
        0: "ok",
        1: f"{wrong} violation{'s' if wrong != 1 else ''}",
        2: "not everything could be checked",
    }
    return "\n".join(_printable(line) for line in [*lines, verdict[report.exit_code]]) + "\n"


def _printable(line: str) -> str:
    """File names come from strangers: no control character reaches a terminal or a CI log that reads commands."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


def as_json(report: Report) -> str:
    findings = [
        {
            "rule": finding.rule,
            "severity": str(finding.severity),
            "fails": report.fails(finding),
            "message": finding.message,
            "path": finding.path,
            "line": finding.line or None,
            "column": finding.column or None,
            "reason": finding.reason or None,
        }
        for finding in report.findings
    ]
    document = {
        "schema": "assay.verify/1",
        "exit_code": report.exit_code,
        "checked": report.checked,
        "problems": report.problems,
        "findings": findings,
    }
    return json.dumps(document, indent=2) + "\n"


def as_sarif(report: Report) -> str:
    rules = [
        {
            "id": rule,
            "shortDescription": {"text": sentence},
            "defaultConfiguration": {"level": str(severity)},
        }
        for rule, (severity, sentence) in RULES.items()
    ]
    run: dict[str, Any] = {
        "tool": {"driver": {"name": "assay verify", "rules": rules}},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": not report.problems,
                "exitCode": report.exit_code,
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": problem}} for problem in report.problems
                ],
            }
        ],
        "results": [_result(report, finding) for finding in report.findings],
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2) + "\n"


def _result(report: Report, finding: Finding) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": _uri(finding.path)}}
    if finding.line:
        place["region"] = {"startLine": finding.line, "startColumn": max(finding.column, 1)}
    result: dict[str, Any] = {
        "ruleId": finding.rule,
        "ruleIndex": RULE_IDS.index(finding.rule),
        "level": "error" if report.fails(finding) else str(finding.severity),
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": place}],
    }
    if finding.reason:
        result["suppressions"] = [{"kind": "inSource", "justification": finding.reason}]
    return result


def _uri(path: str) -> str:
    """Relative to the working folder where it can be, as code hosts want it."""
    try:
        shown = Path(path).absolute().relative_to(Path.cwd()).as_posix()
    except ValueError:
        return Path(path).absolute().as_uri()
    return quote(os.fsencode(shown))
