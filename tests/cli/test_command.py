"""The command as a person runs it: usage, exit codes, the three forms of its answer, and no Django anywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cli.findings import RULES, Finding, Report, Severity
from cli.main import main
from cli.output import as_sarif, as_text
from tests.cli.locks import MODEL_ID, SHA, Desk

ROOT = Path(__file__).resolve().parents[2]

# The shape of SARIF 2.1.0 as far as we write it (§3.13, 3.14, 3.20, 3.27, 3.28, 3.35 of the standard).
_TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
_LEVEL = {"enum": ["none", "note", "warning", "error"]}
SARIF: dict[str, Any] = {
    "type": "object", "required": ["version", "runs"], "additionalProperties": False,
    "properties": {"$schema": {"type": "string", "format": "uri"}, "version": {"const": "2.1.0"}, "runs": {
        "type": "array", "minItems": 1, "items": {"type": "object", "required": ["tool"], "additionalProperties": False,
        "properties": {
            "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
            "tool": {"type": "object", "required": ["driver"], "properties": {"driver": {
                "type": "object", "required": ["name"], "properties": {"rules": {"type": "array", "uniqueItems": True,
                "items": {"type": "object", "required": ["id"], "properties": {
                    "shortDescription": _TEXT, "defaultConfiguration": {"properties": {"level": _LEVEL}}}}}}}}},
            "invocations": {"type": "array", "items": {"type": "object", "required": ["executionSuccessful"],
                "properties": {"executionSuccessful": {"type": "boolean"}, "exitCode": {"type": "integer"},
                "toolExecutionNotifications": {"type": "array", "items": {"type": "object", "required": ["message"],
                    "properties": {"message": _TEXT, "level": _LEVEL}}}}}},
            "results": {"type": "array", "items": {"type": "object", "required": ["message"], "additionalProperties": False,
                "properties": {"ruleId": {"type": "string"}, "ruleIndex": {"type": "integer", "minimum": 0},
                "level": _LEVEL, "message": _TEXT,
                "suppressions": {"type": "array", "items": {"type": "object", "required": ["kind"], "properties": {
                    "kind": {"enum": ["inSource", "external"]}, "justification": {"type": "string"}}}},
                "locations": {"type": "array", "items": {"type": "object", "properties": {"physicalLocation": {
                    "type": "object", "required": ["artifactLocation"], "properties": {
                    "artifactLocation": {"type": "object", "required": ["uri"], "properties": {
                        "uri": {"type": "string", "pattern": r"^[A-Za-z0-9%._~/:@!$&'()*+,;=-]+$"}}},
                    "region": {"type": "object", "properties": {"startLine": {"type": "integer", "minimum": 1},
                        "startColumn": {"type": "integer", "minimum": 1}}}}}}}}}}}}}}},
}  # fmt: skip


def test_sarif_has_the_standards_shape(desk: Desk) -> None:
    file = desk.folder / "my app é.py"
    file.write_text('A.from_pretrained("a/b")\nA.from_pretrained("c/d")  # assay: ignore - later\n')
    code = main(
        [
            "verify",
            "--lock",
            str(desk.lock),
            "--sources",
            str(file),
            str(desk.folder / "none"),
            "--format",
            "sarif",
        ]
    )
    document = json.loads(desk.capsys.readouterr().out)
    jsonschema.validate(document, SARIF)
    (run,) = document["runs"]
    assert code == 1 and run["invocations"][0]["executionSuccessful"] is False
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    by_rule = {result["ruleId"]: result for result in run["results"]}
    place = by_rule["unpinned"]["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 1, "startColumn": 1}
    assert place["artifactLocation"]["uri"].endswith("my%20app%20%C3%A9.py")
    assert by_rule["ignored"]["suppressions"] == [{"kind": "inSource", "justification": "later"}]


def test_sarif_names_files_below_the_working_folder_relatively(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    report = Report(
        findings=[Finding("unpinned", "text", "src/a.py", 3, 1), Finding("unpinned", "text", "/x/a.py", 3)]
    )
    places = [
        result["locations"][0]["physicalLocation"]
        for result in json.loads(as_sarif(report))["runs"][0]["results"]
    ]
    assert [place["artifactLocation"]["uri"] for place in places] == ["src/a.py", "file:///x/a.py"]


def test_text_says_file_line_column_rule_and_verdict(desk: Desk) -> None:
    file = desk.folder / "app.py"
    file.write_text('\nA.from_pretrained("a/b")\n')
    assert main(["verify", str(file)]) == 1
    out = desk.capsys.readouterr().out.splitlines()
    assert (
        out[0]
        == f"{file}:2:1: error [unpinned] from_pretrained('a/b') has no revision: it loads whatever main is that day."
    )
    assert out[1:] == ["checked: 1 Python file", "1 violation"]


def test_text_lets_no_control_character_out() -> None:
    report = Report(findings=[Finding("file-extra", "a\nb\x1b[31m", "x\r::error::y")])
    assert as_text(report).splitlines()[0] == r"x\r::error::y: error [file-extra] a\nb\x1b[31m"


@pytest.mark.parametrize("form", ["text", "json", "sarif"])
def test_file_name_that_is_no_text_is_said_in_every_form(desk: Desk, form: str) -> None:
    base = desk.snapshot()
    (base / os.fsdecode(b"\xff\n::warning::.py")).write_bytes(b"")
    arguments = ["verify", "--lock", str(desk.lock), "--snapshot", str(base), "--format", form]
    assert main(arguments) == 1
    out = desk.capsys.readouterr().out
    assert "file-extra" in out and "\n::warning" not in out


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["--registry", "http://127.0.0.1:1"], ["--snapshot", "."], ["--hf-cache", "."], ["--public-key", "x"],
        ["--lock", "missing.yaml"], ["--lock", "."], ["--sources", "missing.py"],
    ],
)  # fmt: skip
def test_nothing_that_can_be_checked_is_2(desk: Desk, arguments: list[str]) -> None:
    code, rules, answer = desk.run(*arguments)
    assert (code, rules) == (2, []) and answer["problems"]


@pytest.mark.parametrize(
    "arguments", [[], ["verify", "--format", "xml"], ["verify", "--nonsense"], ["other"]]
)
def test_bad_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2 and "usage: assay" in capsys.readouterr().err


def test_one_check_that_cannot_be_made_does_not_stop_the_others(desk: Desk) -> None:
    base = desk.snapshot()
    (base / "extra").write_bytes(b"")
    code, rules, answer = desk.with_lock(
        "--snapshot", base, "--snapshot", desk.folder / "none", "--sources", "none.py"
    )
    assert (code, rules) == (1, ["file-extra"]) and len(answer["problems"]) == 2


def run(*arguments: object, cwd: Path = ROOT, code: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *(["-c", code] if code else ["-m", "cli"]), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


def test_module_runs_as_a_process(desk: Desk) -> None:
    done = run("verify", "--lock", desk.lock, "--public-key", desk.key, "--snapshot", desk.snapshot())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "ok"
    assert run("verify").returncode == 2


def test_command_needs_neither_django_nor_torch(desk: Desk) -> None:
    code = (
        "import sys; from cli.main import main; main(sys.argv[1:]); "
        "print([m for m in ('django', 'rest_framework', 'torch', 'transformers', 'registry', 'config') if m in sys.modules])"
    )
    done = run("verify", "--lock", desk.lock, "--public-key", desk.key, "--sources", ROOT / "cli", code=code)
    assert done.stdout.splitlines()[-1] == "[]"


def test_sources_need_the_standard_library_only(desk: Desk) -> None:
    code = (
        "import sys; sys.modules['yaml'] = sys.modules['cryptography'] = None; "
        "from cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    file = desk.folder / "app.py"
    file.write_text(f'A.from_pretrained("{MODEL_ID}", revision="{SHA}")')
    assert run("verify", "--sources", file, code=code).returncode == 0


def test_hook_is_what_the_command_understands(desk: Desk) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    command, *arguments = hook["entry"].split()
    assert command == "assay" and hook["types_or"] == ["python"] and hook["pass_filenames"] is True
    file = desk.folder / "app.py"
    file.write_text('A.from_pretrained("a/b")')
    assert main([*arguments, *hook["args"], str(file)]) == 1
    assert main([*arguments, "--lock", str(desk.lock), str(file)]) == 1


def test_page_explains_every_rule() -> None:
    page = "".join(
        (ROOT / "docs" / name).read_text(encoding="utf-8")
        for name in ("lock.md", "audit.md", "attestation.md")
    )
    for rule, (severity, _) in RULES.items():
        assert re.search(rf"^\| `{rule}` \| {severity} \|", page, re.MULTILINE), rule
    assert {severity for severity, _ in RULES.values()} == set(Severity)
