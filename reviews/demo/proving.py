"""The auditor's part of the story: the record is carried out, checked elsewhere, and a forger is found out."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from reviews.demo.asking import Browser
from reviews.demo.scene import Scene
from reviews.demo.telling import expect

HOUSE = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60


def _assay(*words: str) -> tuple[int, dict[str, Any]]:
    """The engineers' command in a process of its own: (exit code, its JSON report)."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", *words, "--format", "json"],
        cwd=HOUSE, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    expect(done.stdout.startswith("{"), f"the command said: {done.stdout[-300:]} {done.stderr[-300:]}")
    return done.returncode, json.loads(done.stdout)


def _key(scene: Scene, folder: Path) -> Path:
    keys = scene.api["auditor"].get("/api/v1/keys")["keys"]
    file = folder / "signing.pub.pem"
    file.write_text(next(key["public_key_pem"] for key in keys if key["alg"] == "ed25519"), encoding="utf-8")
    return file


def _fetched(scene: Scene, path: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {scene.tokens['auditor']}"}
    return httpx.get(f"{scene.web}{path}", headers=headers, timeout=TIMEOUT_S, trust_env=False)


def export_dossier(scene: Scene, version: str) -> str:
    base = f"{scene.model}/revisions/{scene.commits[version]}/exports"
    dossier = _fetched(scene, f"{base}/dossier-json").json()
    review = dossier["reviews"][-1]
    expect(all(item["answer"] for item in review["items"]), "an item of the dossier has no answer")
    expect(dossier["approvals"][0]["receipt"]["checkpoint"], "the approval's receipt carries no checkpoint")
    pdf = _fetched(scene, f"{base}/dossier-pdf")
    expect(pdf.content.startswith(b"%PDF-") or pdf.status_code == 501, f"the PDF answered {pdf.status_code}")
    bom = _fetched(scene, f"{base}/ml-bom").json()
    made = (
        f"{len(pdf.content) // 1024} KB of PDF" if pdf.status_code == 200 else pdf.json()["error"]["message"]
    )
    return (
        f"{len(review['items'])} answers, {len(review['votes'])} vote, {len(dossier['evidence'])} runs, "
        f"{len(dossier['trail'])} events; {made}\n"
        f"CycloneDX {bom['specVersion']}: {bom['metadata']['component']['purl']}"
    )


def check_attestation(scene: Scene, version: str) -> str:
    """The signed decision is checked in another process with nothing but the public key; a changed answer breaks it."""
    revision = scene.revision(version)
    approval = scene.review(version, "auditor")["approval"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file, key = folder / "approval.intoto.json", _key(scene, folder)
        envelope = _fetched(scene, f"/api/v1/approvals/{approval}/attestation").json()
        file.write_text(json.dumps(envelope), encoding="utf-8")
        code, report = _assay("verify", "--attestation", str(file), "--key", str(key))
        expect(code == 0, f"the attestation of {revision['commit_sha'][:7]} does not check: {report}")
        envelope["payload"] = (
            envelope["payload"][:400]
            + ("A" if envelope["payload"][400] != "A" else "B")
            + envelope["payload"][401:]
        )
        file.write_text(json.dumps(envelope), encoding="utf-8")
        broken, changed = _assay("verify", "--attestation", str(file), "--key", str(key))
        expect(broken == 1, f"a changed attestation passed: {changed}")
    whole, said = report["checked"][0].rpartition("/")[2], changed["findings"][0]["message"]
    return f"{whole}: signed and whole; one changed letter: {said}"


def verify_chain(scene: Scene) -> str:
    """By the page's button, and by the command against a copy, checkpoints and public key in hand."""
    browser = Browser.signed_in(scene.web, "auditor", scene.passwords["auditor"])
    page = browser.open("/audit/?verify=1")
    expect("The chain is whole" in page.text, f"the page says: {page.text[:400]}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        code, report = _audit(scene, _copy(scene, folder), folder)
    expect(code == 0, f"the command says: {report['findings'][:3]} {report['problems']}")
    return "the page: the chain is whole; the command: " + ", ".join(report["checked"])


def forge(scene: Scene) -> str:
    """Somebody with the database file rewrites who approved, in a copy; somebody else cuts the end off."""
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what, sql in (
            ("one row edited", "UPDATE registry_auditevent SET body = replace(body, 'production', 'staging') "
             "WHERE seq = (SELECT MAX(seq) FROM registry_auditevent WHERE verb = 'approval.granted')"),
            ("the end cut off", "DELETE FROM registry_auditevent WHERE seq > (SELECT MAX(seq) - 3 FROM registry_auditevent "
             "WHERE verb = 'approval.granted')"),
            ("a verdict on code in another's name", "UPDATE reviews_fileverdict SET by_id = (SELECT by_id FROM "
             "registry_channelmove LIMIT 1) WHERE id = (SELECT MAX(id) FROM reviews_fileverdict)"),
            ("an approval brought back", "UPDATE registry_approval SET status = 'retired' WHERE id = "
             "(SELECT MIN(id) FROM registry_approval)"),
        ):  # fmt: skip
            database = _copy(scene, folder)
            _rewrite(database, sql)
            code, report = _audit(scene, database, folder)
            wrong = [finding["message"] for finding in report["findings"] if finding["fails"]]
            expect(code == 1 and wrong, f"{what}: nothing was found: {report}")
            lines.append(f"{what}: “{wrong[0]}”")
    return "\n".join(lines)


def _copy(scene: Scene, folder: Path) -> Path:
    """A whole copy of the live database, made as a backup is made; the live one is only read."""
    path = folder / "copy.sqlite3"
    path.unlink(missing_ok=True)
    live = sqlite3.connect(f"file:{scene.data / 'assay.sqlite3'}?mode=ro", uri=True)
    copy = sqlite3.connect(path)
    try:
        live.backup(copy)
    finally:
        copy.close()
        live.close()
    return path


def _rewrite(database: Path, sql: str) -> None:
    """What the owner of a database file can do: the triggers go first."""
    connection = sqlite3.connect(database)
    try:
        names = [
            row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        ]
        for trigger in names:
            connection.execute(f'DROP TRIGGER "{trigger}"')
        expect(connection.execute(sql).rowcount >= 1, "the forger changed nothing")
        connection.commit()
    finally:
        connection.close()


def _audit(scene: Scene, database: Path, folder: Path) -> tuple[int, dict[str, Any]]:
    places = ("--checkpoints", str(scene.data / "checkpoints"), "--public-key", str(_key(scene, folder)))
    return _assay("audit", "verify", "--database", str(database), *places)
