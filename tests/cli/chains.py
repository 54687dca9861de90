"""A database of events and its checkpoints, made from the documents alone: by nobody's code that is tested here."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)
NAME = "assay.example"
TABLES = """
CREATE TABLE registry_{chain} (seq INTEGER PRIMARY KEY, at datetime NOT NULL, body text NOT NULL, prev BLOB NOT NULL,
 hash BLOB NOT NULL, verb varchar(60) NOT NULL, actor_id bigint NULL, team_id bigint NULL,
 object_type varchar(40) NOT NULL, object_id bigint NULL);
"""
OTHERS = """
CREATE TABLE registry_approval (id INTEGER PRIMARY KEY, status, environment, manifest_sha256, content_sha256,
 remote_code_sha256, approved_by_id, submitted_by_id, expires_at, use_case, data_class, conditions, owner, policy_version,
 evidence_ids, allowed_environments, use_cases, data_classes, review_by, monitoring, rollback_approval_id, rollback_target,
 fallback, data_policy, revision_id);
CREATE TABLE registry_revision (id INTEGER PRIMARY KEY, commit_sha, manifest_sha256, code_audit, code_waived_until);
CREATE TABLE registry_revisionfile (id INTEGER PRIMARY KEY, revision_id, path, blob_id);
CREATE TABLE registry_blob (sha256 PRIMARY KEY, size);
CREATE TABLE registry_evidence (id INTEGER PRIMARY KEY, revision_id, sha256, data, summary);
CREATE TABLE inference_goldenset (id INTEGER PRIMARY KEY, sha256, name, model_id, size);
CREATE TABLE registry_channelmove (id INTEGER PRIMARY KEY, channel_id, number, kind, to_approval_id, from_approval_id, by_id,
 reason);
CREATE TABLE registry_channel (id INTEGER PRIMARY KEY, current_id);
CREATE TABLE registry_membership (id INTEGER PRIMARY KEY, user_id, team_id, role);
CREATE TABLE registry_apitoken (id INTEGER PRIMARY KEY, public_id, user_id, scopes, expires_at, revoked_at);
CREATE TABLE reviews_reviewrequest (id INTEGER PRIMARY KEY, status, environment, data_class, submitted_by_id, round, tier,
 votes_needed, legal_asked, decision, decision_by_id, decision_reason, conditions, content_sha256, approval_id);
CREATE TABLE reviews_vote (id INTEGER PRIMARY KEY, request_id, reviewer_id, decision, round, roles, content_sha256, reason);
CREATE TABLE reviews_answer (id INTEGER PRIMARY KEY, request_id, key, verdict, value, text, version, by_id);
CREATE TABLE reviews_reviewcomment (id INTEGER PRIMARY KEY, request_id, thread_id, key, kind, text, round, by_id);
CREATE TABLE reviews_mention (id INTEGER PRIMARY KEY, comment_id, user_id);
CREATE TABLE reviews_fileverdict (id INTEGER PRIMARY KEY, path, revision_id, sha256, verdict, reason, by_id, team_id);
CREATE TABLE reviews_codewaiver (id INTEGER PRIMARY KEY, revision_id, reason, owner_id, by_id, expires_at, ended_at,
 ended_by_id);
CREATE TABLE reviews_waiver (id INTEGER PRIMARY KEY, rule, revision_id, reason, owner_id, by_id, expires_at, ended_at,
 ended_by_id);
CREATE TABLE reviews_policy (id INTEGER PRIMARY KEY, key, team_id);
CREATE TABLE reviews_policyversion (id INTEGER PRIMARY KEY, policy_id, number, title, sha256, source, author_id, state,
 state_by_id);
CREATE TABLE reviews_checklisttemplate (id INTEGER PRIMARY KEY, slug, team_id);
CREATE TABLE reviews_checklisttemplateversion (id INTEGER PRIMARY KEY, template_id, number, name, items, sha256, by_id);
CREATE TABLE reviews_attestation (id INTEGER PRIMARY KEY, approval_id, payload_sha256, envelope);
"""


def stored_time(at: datetime) -> str:
    """As Django writes it into SQLite."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ")


def link(seq: int, prev: bytes, at: datetime, body: str) -> bytes:
    at_us = int((at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(microseconds=1))
    payload = b"audit-v1\0" + seq.to_bytes(8, "big") + prev + at_us.to_bytes(8, "big", signed=True)
    return hashlib.sha256(payload + hashlib.sha256(body.encode()).digest()).digest()


def body_of(seq: int) -> str:
    said = {
        "actor": seq % 7 + 1, "auth": "session", "token": "", "request": f"{seq:08x}", "team": 1,
        "verb": "job.requested", "object": ["job", seq % 11 + 1], "data": {"items": f"mục {seq}"},
    }  # fmt: skip
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def columns_of(body: str) -> tuple[object, ...]:
    said = json.loads(body)
    return (said["verb"], said["actor"], said["team"], said["object"][0], said["object"][1])


def fill(connection: sqlite3.Connection, chain: str, count: int, start: int = 1) -> None:
    row = connection.execute(f"SELECT hash FROM registry_{chain} ORDER BY seq DESC LIMIT 1").fetchone()
    prev = row[0] if row else b"\0" * 32
    for seq in range(start, start + count):
        at, body = START + timedelta(seconds=7 * seq, microseconds=seq * 13), body_of(seq)
        digest = link(seq, prev, at, body)
        connection.execute(
            f"INSERT INTO registry_{chain} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (seq, stored_time(at), body, prev, digest, *columns_of(body)),
        )
        prev = digest


def make(path: Path, count: int) -> None:
    connection = sqlite3.connect(path)
    for chain in ("auditevent", "accessevent"):
        connection.executescript(TABLES.format(chain=chain))
    connection.executescript(OTHERS)
    fill(connection, "auditevent", count)
    fill(connection, "accessevent", 5)
    connection.commit()
    connection.close()


class Signer:
    def __init__(self, folder: Path) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.pem = folder / "signing.pub.pem"
        self.pem.write_bytes(
            self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        )

    def note(self, chain: str, size: int, root: bytes) -> str:
        text = f"{NAME}/{chain}\n{size}\n{base64.b64encode(root).decode()}\n"
        public = self.key.public_key().public_bytes_raw()
        hint = hashlib.sha256(f"{NAME}\n".encode() + b"\x01" + public).digest()[:4]
        return f"{text}\n\u2014 {NAME} {base64.b64encode(hint + self.key.sign(text.encode())).decode()}\n"

    def witness(self, database: Path, file: Path, sizes: list[int], chain: str = "auditevent") -> Path:
        connection = sqlite3.connect(database)
        with file.open("a", encoding="utf-8") as out:
            for size in sizes:
                row = connection.execute(
                    f"SELECT hash FROM registry_{chain} WHERE seq = ?", (size,)
                ).fetchone()
                out.write(self.note(chain, size, row[0]))
        connection.close()
        return file
