"""Rows for tests, made the shortest honest way: people by ORM, tokens by the service, files in the store."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.auth.hashers import make_password
from django.test import Client
from django.utils import timezone

from inference.models import GoldenExample, GoldenSet
from registry import store
from registry.actors import Actor, actor_for
from registry.canonical import manifest_sha256, sha256_json, sha256_text
from registry.enums import CodeAudit, EvidenceKind, JobKind, JobState, Role, Scope
from registry.models import (
    Approval,
    Blob,
    Evidence,
    Job,
    Membership,
    RegisteredModel,
    Revision,
    RevisionFile,
    Team,
    User,
)
from registry.services.tokens import create_token
from reviews.checklists import frozen_checklist
from reviews.code_audits.judging import judge_file, waive_audit
from reviews.code_audits.manifest import code_files
from reviews.enums import ReviewStatus, Verdict
from reviews.models import Answer, ReviewRequest, Vote
from reviews.services.digests import refresh
from reviews.services.recording import open_for_votes
from reviews.votes import set_seats

MODEL_ID = "acme/sentiment-vi-en"
SHA_A, SHA_B, SHA_C = "a" * 40, "b" * 40, "c" * 40
LABELS = {"0": "negative", "1": "neutral", "2": "positive"}
VERSION = "model-card-review/1"
PASSWORD = "correct horse battery"
_numbers = itertools.count(1)
_password = make_password(PASSWORD, hasher="md5")


# --- people ------------------------------------------------------------------------------------------------------------


def make_team(slug: str) -> Team:
    return Team.objects.create(slug=slug, name=slug.replace("-", " ").title())


def make_user(username: str = "", **fields: Any) -> User:
    name = username or f"user{next(_numbers)}"
    return User.objects.create(username=name, password=_password, **fields)


def make_member(team: Team, *roles: Role, username: str = "") -> Actor:
    """A new person with these roles in the team, as a signed-in actor."""
    user = make_user(username)
    Membership.objects.bulk_create(Membership(user=user, team=team, role=role) for role in roles)
    return actor_for(user, team, auth_method="session")


def make_token(actor: Actor, scopes: list[str] | None = None, days: int = 30) -> str:
    """The token's text; all scopes a person can have unless told otherwise."""
    wanted = scopes if scopes is not None else [s for s in Scope.values if s != Scope.SERVE]
    return create_token(actor=actor, name="test", scopes=wanted, days=days)[1]


@dataclass(frozen=True)
class World:
    """`acme` has one person a role; `globex` is the other team; `server` is an inference server's account."""

    team: Team
    viewer: Actor
    submitter: Actor
    reviewer: Actor
    security_auditor: Actor
    legal_reviewer: Actor
    release_manager: Actor
    admin: Actor
    auditor: Actor
    other: Actor
    server: Actor

    def by_role(self, role: str) -> Actor:
        found: Actor = getattr(self, role)
        return found


def make_world() -> World:
    team, other = make_team("acme"), make_team("globex")
    people = {role.value: make_member(team, role, username=role.value) for role in Role}
    stranger = make_member(other, *Role, username="stranger")
    server = Actor(user=make_user("inference-server", is_service_account=True), team=None)
    return World(team=team, other=stranger, server=server, **people)


# --- the API as a person's script sees it ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answered:
    """An HTTP answer, its JSON read."""

    status: int
    data: Any
    headers: Any
    content: bytes = b""

    @property
    def error(self) -> dict[str, Any]:
        """The error of the house's one shape."""
        assert set(self.data) == {"error"}, self.data
        assert set(self.data["error"]) == {"code", "message", "details"}, self.data
        found: dict[str, Any] = self.data["error"]
        return found

    @property
    def code(self) -> str:
        return str(self.error["code"])


@dataclass(frozen=True)
class Api:
    """`api.post("/models/...", {...})` with a bearer token; addresses are relative to /api/v1, or start with /api/, /hub/.

    Answers are never closed by hand: that fires `request_finished`, which drops the connection of the test's transaction.
    """

    token: str
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    @staticmethod
    def of(actor: Actor | None, scopes: list[str] | None = None) -> Api:
        return Api(make_token(actor, scopes) if actor else "")

    def send(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json"
    ) -> Answered:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        url = path if path.startswith(("/api/", "/hub/")) else f"/api/v1{path}"
        answer = self.client.generic(method, url, data, content_type=content_type, headers=headers)
        is_json = answer.headers.get("Content-Type", "").startswith("application/json")
        content = b"".join(answer.streaming_content) if answer.streaming else answer.content  # type: ignore[attr-defined]
        return Answered(
            answer.status_code, json.loads(content) if is_json and content else None, answer.headers, content
        )

    def get(self, path: str) -> Answered:
        return self.send("GET", path)

    def post(self, path: str, body: Any = None) -> Answered:
        return self.send("POST", path, body if body is not None else {})

    def put(self, path: str, body: Any) -> Answered:
        return self.send("PUT", path, body)

    def delete(self, path: str) -> Answered:
        return self.send("DELETE", path)

    def upload(self, path: str, fields: dict[str, str], file: bytes, name: str = "golden.csv") -> Answered:
        """A multipart form with one file named `file`."""
        line = b"--limit\r\nContent-Disposition: form-data; name="
        parts = [line + f'"{key}"\r\n\r\n{value}\r\n'.encode() for key, value in fields.items()]
        head = line + f'"file"; filename="{name}"\r\nContent-Type: text/csv\r\n\r\n'.encode()
        body = b"".join(parts) + head + file + b"\r\n--limit--\r\n"
        return self.send("POST", path, body, content_type="multipart/form-data; boundary=limit")


# --- what the registry holds -------------------------------------------------------------------------------------------


def make_model(team: Team, model_id: str = MODEL_ID) -> RegisteredModel:
    return RegisteredModel.objects.get_or_create(team=team, model_id=model_id)[0]


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def make_revision(
    team: Team,
    commit_sha: str = SHA_A,
    *,
    model_id: str = MODEL_ID,
    files: dict[str, bytes] | None = None,
    labels: dict[str, str] | None = None,
    remote_code: bool = False,
    facts: dict[str, Any] | None = None,
) -> Revision:
    """A recorded revision with its files in the store, as intake leaves it."""
    content = (
        files
        if files is not None
        else {"config.json": b'{"model_type": "distilbert"}', "model.safetensors": commit_sha.encode()}
    )
    held = [(path, store.put([data], size=len(data)), data) for path, data in sorted(content.items())]
    code = sha256_text("code") if remote_code else None
    revision = Revision.objects.create(
        model=make_model(team, model_id),
        commit_sha=commit_sha,
        requested_revision="main",
        manifest_sha256=manifest_sha256([(path, stored.size, stored.sha256) for path, stored, _ in held]),
        total_size=sum(len(data) for data in content.values()),
        card_text="# A model\n",
        card_data={"license": "apache-2.0"},
        config={"architectures": ["DistilBertForSequenceClassification"]},
        label_mapping=LABELS if labels is None else labels,
        facts={"provenance": {"on_default_branch": True}, **(facts or {})},
        pipeline_tag="text-classification",
        license="apache-2.0",
        remote_code_sha256=code,
        code_audit=CodeAudit.PENDING if code else CodeAudit.NOT_APPLICABLE,
    )
    for path, stored, data in held:
        Blob.objects.get_or_create(sha256=stored.sha256, defaults={"size": stored.size})
        RevisionFile.objects.create(
            revision=revision,
            path=path,
            blob_id=stored.sha256,
            git_oid=git_oid(data),
            is_lfs=path.endswith(".safetensors"),
        )
    return revision


def make_job(
    actor: Actor, kind: JobKind = JobKind.BENCHMARK, *, state: str = JobState.QUEUED, **fields: Any
) -> Job:
    """A job row in any state that the database allows."""
    number, now = next(_numbers), timezone.now()
    shape: dict[str, Any] = {
        "queue": "cpu",
        "title": f"Job {number}",
        "subject": f"test:{number}",
        "params": {},
    }
    if state == JobState.RUNNING:
        shape |= {
            "lease_owner": "somebody",
            "lease_until": now + timedelta(seconds=60),
            "attempt": 1,
            "started_at": now,
        }
    elif state != JobState.QUEUED:
        shape |= {"finished_at": now, "attempt": 1}
    return Job.objects.create(
        team=actor.in_team, kind=kind, requested_by=actor.user, state=state, **(shape | fields)
    )


HARDWARE = {"cpu": "A processor", "cores": 2, "device": "cpu", "ram_mb": 8192}
VERSIONS = {"torch": "2.13.0", "transformers": "5.23.0", "python": "3.11"}
FIGURES: dict[EvidenceKind, dict[str, Any]] = {
    EvidenceKind.BENCHMARK: {
        "schema": 1, "hardware": HARDWARE, "versions": VERSIONS, "cold_start_s": 1.5, "max_rss_mb": 400.0,
        "max_vram_mb": None, "latency_p50_ms": 3.0, "latency_p95_ms": 5.0, "latency_p99_ms": 6.0,
        "throughput_texts_s": 900.0, "tokens_s": 20000.0, "texts": 64, "repeats": 20,
        "grid": [{"max_length": 128, "effective_max_length": 128, "batch_size": 8, "latency_p50_ms": 9.0,
                  "latency_p95_ms": 12.0, "throughput_texts_s": 900.0, "tokens_s": 20000.0}],
    },
    EvidenceKind.EVALUATION: {
        "schema": 1, "golden_set": {"id": 1, "name": "golden", "sha256": "0" * 64, "size": 2}, "duration_s": 0.5,
        "labels": ["negative", "positive"], "accuracy": 0.5, "macro_f1": 0.333333, "hardware": HARDWARE,
        "per_class": [
            {"label": "negative", "precision": 0.5, "recall": 1.0, "f1": 0.666667, "support": 1, "predicted": 2},
            {"label": "positive", "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1, "predicted": 0},
        ],
        "confusion": [[1, 0], [1, 0]], "versions": VERSIONS,
        "errors": [{"number": 2, "reference": "positive", "prediction": "negative", "confidence": 0.51}],
    },
}  # fmt: skip


def make_evidence(actor: Actor, revision: Revision, kind: EvidenceKind) -> Evidence:
    """Evidence with the figures that its kind of run publishes."""
    data = FIGURES[kind]
    return Evidence.objects.create(
        revision=revision,
        kind=kind,
        job=make_job(actor, JobKind(kind.value), state=JobState.SUCCEEDED),
        manifest_sha256=revision.manifest_sha256,
        summary=f"{kind.label} went well",
        data=data,
        sha256=sha256_json(data),
    )


def make_approval(
    world: World,
    revision: Revision,
    *,
    environment: str = "production",
    review: ReviewRequest | None = None,
    **fields: Any,
) -> Approval:
    """A living approval, submitted by the submitter and approved by the reviewer, in a review that is decided with it.

    With `review`, an open one, the votes and the approval are written and the review is left to the caller. Votes that are
    needed besides the approver's are cast by accounts of their own.
    """
    now = timezone.now()
    shape: dict[str, Any] = {
        "use_case": "Sort customers' messages by mood",
        "data_class": "internal",
        "manifest_sha256": revision.manifest_sha256,
        "remote_code_sha256": revision.remote_code_sha256,
        "content_sha256": review.content_sha256 if review else sha256_text("content"),
        "policy_version": VERSION,
        "submitted_by": world.submitter.user,
        "approved_by": world.reviewer.user,
        "approved_at": now,
        "expires_at": now + timedelta(days=180),
        "status_at": now,
        "status_by": world.reviewer.user,
    } | fields
    allowed = {name: shape[name] for name in ("allowed_environments", "data_classes") if name in shape}
    found = review or make_review(
        world, revision, environment=environment, use_case=shape["use_case"], data_class=shape["data_class"],
        submitted_by=shape["submitted_by"], content_sha256=shape["content_sha256"], **allowed,
    )  # fmt: skip
    voters = [shape["approved_by"], *(make_user() for _ in range(found.votes_needed - 1))]
    for voter in voters if review is None else voters[:1]:
        Vote.objects.create(
            request=found, round=found.round, reviewer=voter, decision="approved", at=now, roles=["reviewer"],
            content_sha256=shape["content_sha256"],
        )  # fmt: skip
    approval = Approval.objects.create(
        model=revision.model, revision=revision, environment=environment, **shape
    )
    if review is None:
        ReviewRequest.objects.filter(pk=found.pk).update(
            status="approved",
            decision="approved",
            decision_at=now,
            decision_by=shape["approved_by"],
            approval=approval,
        )
    return approval


def make_review(
    world: World, revision: Revision | None = None, *, status: str = ReviewStatus.IN_REVIEW, environment: str = "staging",
    answered: bool = False, **fields: Any,
) -> ReviewRequest:  # fmt: skip
    """An open review request; `answered` writes an acceptable answer to each item."""
    shape: dict[str, Any] = {
        "requested_revision": "main",
        "use_case": "Sort customers' messages by mood",
        "data_class": "internal",
        "owner": "The service desk",
        "checklist": frozen_checklist(),
        "checklist_version": VERSION,
        "submitted_by": world.submitter.user,
        "submitted_at": timezone.now(),
        "monitoring": [{"metric": "accuracy", "op": ">=", "threshold": 0.9}],
        "data_policy": "Messages only; nothing of them is kept.",
        "fallback": "People sort by hand.",
    }
    shape["edited_by"] = fields.get("submitted_by", shape["submitted_by"])
    request = ReviewRequest.objects.create(
        team=world.team,
        model=revision.model if revision else make_model(world.team),
        revision=revision,
        status=status,
        environment=environment,
        **(shape | fields),
    )
    if status == ReviewStatus.IN_REVIEW and revision and "content_sha256" not in fields:
        open_for_votes(request)
    elif status == ReviewStatus.IN_REVIEW and revision and "votes_needed" not in fields:
        set_seats(request)
        request.save(update_fields=["tier", "votes_needed"])
    if answered:
        answer_all(world, request)
    return request


def answer_all(world: World, request: ReviewRequest) -> None:
    Answer.objects.bulk_create(
        Answer(
            request=request,
            key=item["key"],
            verdict=Verdict.ACCEPTABLE,
            value=a_value(item),
            text="Read and fine." if item["type"] == "text" else "",
            by=world.reviewer.user,
            at=timezone.now(),
        )
        for item in request.checklist
    )
    refresh(request)
    request.save(update_fields=["content_sha256"])


def a_value(item: dict[str, Any]) -> Any:
    """A value of the item's type that leaves no doubt."""
    if item["type"] in ("choice", "yesno"):
        return next(value for value in item["options"] if value not in item["doubtful"])
    return {"number": item.get("max"), "link": "https://example.org/evaluation", "text": None}[item["type"]]


def an_answer(item: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """What a person sends to answer an item acceptably."""
    words = "Read and fine." if item["type"] == "text" else ""
    return {"verdict": "acceptable", "value": a_value(item), "text": words, **fields}


def audit_code(world: World, revision: Revision, state: str = "passed") -> Revision:
    """Brings the code audit of a revision into a state, through its door: verdicts of the security auditor, or a waiver."""
    if state == "waived":
        waive_audit(
            actor=world.security_auditor, revision=revision, owner=world.admin.user.username,
            reason="Needed for a trial this week", expires_at=timezone.now() + timedelta(days=7),
        )  # fmt: skip
    elif state != "pending":
        reason = "It opens the network" if state == "failed" else ""
        for file in code_files(revision):
            judge_file(
                actor=world.security_auditor, revision=revision, path=file.path, sha256=file.sha256, verdict=state,
                reason=reason,
            )  # fmt: skip
    revision.refresh_from_db()
    assert revision.code_audit == state
    return revision


def make_golden_set(
    actor: Actor, rows: list[tuple[str, str]] | None = None, model_id: str = MODEL_ID
) -> GoldenSet:
    content = rows or [("good", "positive"), ("bad", "negative")]
    golden = GoldenSet.objects.create(
        team=actor.in_team,
        model_id=model_id,
        name=f"golden {next(_numbers)}",
        sha256=sha256_json(content),
        labels=sorted({label for _, label in content}),
        size=len(content),
        created_by=actor.user,
    )
    GoldenExample.objects.bulk_create(
        GoldenExample(golden_set=golden, number=number, inputs=text, reference=label)
        for number, (text, label) in enumerate(content, 1)
    )
    return golden
