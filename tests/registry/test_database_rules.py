"""Rules that hold whoever writes. Every write here is raw SQL on the running engine: no service, no ORM, no signal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from inference.models import EvaluationPrediction, GoldenExample
from registry import audit
from registry.canonical import sha256_text
from registry.enums import EvidenceKind, JobState
from registry.models import (
    AccessEvent,
    Approval,
    AuditEvent,
    Channel,
    ChannelMove,
    Evidence,
    Job,
    Revision,
    RevisionFile,
)
from registry.services.channels import move_channel
from tests.factories import (
    MODEL_ID,
    SHA_A,
    SHA_B,
    World,
    audit_code,
    make_approval,
    make_evidence,
    make_golden_set,
    make_job,
    make_revision,
)

Raw = Callable[..., int]


@contextmanager
def refused(sentence: str | None = None) -> Iterator[None]:
    """The database refuses, with this sentence when the rule is a trigger's."""
    with pytest.raises(DatabaseError, match=sentence), transaction.atomic():
        yield


def now() -> Any:
    return connection.ops.adapt_datetimefield_value(timezone.now())


def later(moment: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


@pytest.fixture
def events(world: World) -> list[AuditEvent]:
    with transaction.atomic():
        for name in ("first", "second", "third"):
            audit.record(actor=world.admin, verb="team.created", subject=world.team, name=name)
    return list(AuditEvent.objects.order_by("seq"))


# --- the audit chains --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["body", "verb", "at", "actor_id", "team_id", "object_id", "object_type"])
def test_audit_event_cannot_be_updated(events: list[AuditEvent], raw: Raw, column: str) -> None:
    with refused("The audit log is append-only: it cannot be changed"):
        raw(f"UPDATE registry_auditevent SET {column} = {column} WHERE seq = %s", events[1].seq)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_audit_event_cannot_be_deleted(events: list[AuditEvent], raw: Raw, which: int) -> None:
    with refused("The audit log is append-only: it cannot be deleted"):
        raw("DELETE FROM registry_auditevent WHERE seq = %s", events[which].seq)


def test_audit_log_cannot_be_emptied_at_once(events: list[AuditEvent], raw: Raw) -> None:
    statement = (
        "TRUNCATE registry_auditevent"
        if connection.vendor == "postgresql"
        else "DELETE FROM registry_auditevent"
    )
    with refused("The audit log is append-only"):
        raw(statement)


_INSERT = (
    "INTO registry_auditevent (seq, at, body, prev, hash, verb, actor_id, team_id, object_type, object_id) "
    "SELECT %s, at, body, prev, hash, verb, actor_id, team_id, object_type, object_id "
    "FROM registry_auditevent WHERE seq = %s"
)


def test_audit_event_cannot_be_replaced(events: list[AuditEvent], raw: Raw) -> None:
    """SQLite's REPLACE deletes and inserts; PostgreSQL's cousin is ON CONFLICT DO UPDATE."""
    last = events[-1].seq
    if connection.vendor == "sqlite":
        with refused():
            raw("INSERT OR REPLACE " + _INSERT, last, last)
        with refused():
            raw("REPLACE " + _INSERT, events[0].seq, last)
    else:
        with refused():
            raw("INSERT " + _INSERT + " ON CONFLICT (seq) DO UPDATE SET body = 'x'", last, last)
    assert AuditEvent.objects.count() == 3 and audit.verify().ok


@pytest.mark.parametrize("gap", [-1, 0, 2, 100])
def test_audit_event_must_follow_the_last_one(events: list[AuditEvent], raw: Raw, gap: int) -> None:
    with refused():
        raw("INSERT " + _INSERT, events[-1].seq + gap, events[-1].seq)


def test_audit_event_must_carry_the_hash_of_the_last_one(events: list[AuditEvent], raw: Raw) -> None:
    with refused("An audit event must follow the last one"):
        raw(
            "INSERT " + _INSERT, events[-1].seq + 1, events[-1].seq
        )  # prev is the last one's prev, not its hash


def test_first_audit_event_must_be_number_one(world: World, raw: Raw) -> None:
    columns = "seq, at, body, prev, hash, verb, actor_id, team_id, object_type, object_id"
    with refused("An audit event must follow the last one"):
        raw(
            f"INSERT INTO registry_auditevent ({columns}) VALUES (7, %s, '{{}}', %s, %s, 'x', NULL, NULL, '', NULL)",
            now(), b"\0" * 32, b"\0" * 32,
        )  # fmt: skip


def test_access_chain_has_the_same_rules(world: World, raw: Raw) -> None:
    audit.record_access(actor=world.viewer, verb="access.denied", action="to peek")
    seq = AccessEvent.objects.get().seq
    with refused("append-only: it cannot be changed"):
        raw("UPDATE registry_accessevent SET verb = 'session.signed_in' WHERE seq = %s", seq)
    with refused("append-only: it cannot be deleted"):
        raw("DELETE FROM registry_accessevent")


# --- revisions and their files -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sha",
    ["A" * 40, "a" * 39, "a" * 41, "g" * 40, "main", "", "a" * 39 + "\n", " " + "a" * 39],
    ids=["upper", "short", "long", "not hex", "branch", "empty", "newline", "space"],
)
def test_commit_sha_is_40_lower_case_hex(world: World, sha: str) -> None:
    revision = make_revision(world.team)
    revision.pk, revision.commit_sha = None, sha
    with refused():
        Revision.objects.bulk_create([revision])


@pytest.mark.parametrize(
    "column",
    ["model_id", "commit_sha", "manifest_sha256", "total_size", "card_text", "card_sha256", "config", "label_mapping",
     "remote_code_sha256", "requested_revision", "card_data", "facts", "findings", "pipeline_tag", "library_name",
     "license", "committed_at", "created_at"],
)  # fmt: skip
def test_what_was_found_at_a_commit_cannot_be_changed(world: World, raw: Raw, column: str) -> None:
    revision = make_revision(world.team)
    with refused("What was found at a commit cannot be changed"):
        raw(f"UPDATE registry_revision SET {column} = {column} WHERE id = %s", revision.pk)


def test_revision_cannot_be_deleted(world: World, raw: Raw) -> None:
    revision = make_revision(world.team, files={})
    with refused("A revision is a record"):
        raw("DELETE FROM registry_revision WHERE id = %s", revision.pk)


def test_code_audit_cannot_be_not_applicable_where_there_is_code(world: World, raw: Raw) -> None:
    revision = make_revision(world.team, remote_code=True)
    with refused():
        raw("UPDATE registry_revision SET code_audit = 'not_applicable' WHERE id = %s", revision.pk)


def test_manifest_of_a_revision_is_append_only(world: World, raw: Raw) -> None:
    file = RevisionFile.objects.filter(revision=make_revision(world.team)).latest("pk")
    with refused("A revision's manifest is append-only"):
        raw("UPDATE registry_revisionfile SET path = 'x' WHERE id = %s", file.pk)
    with refused("A revision's manifest is append-only"):
        raw("DELETE FROM registry_revisionfile WHERE id = %s", file.pk)


def test_file_cannot_be_added_to_an_approved_revision(world: World) -> None:
    """A manifest grows only until its revision is approved: what is approved is the whole list."""
    revision = make_revision(world.team)
    blob = RevisionFile.objects.filter(revision=revision).latest("pk").blob_id
    make_approval(world, revision)
    with refused("The manifest of an approved revision is closed"):
        RevisionFile.objects.create(revision=revision, path="extra.py", blob_id=blob)


# --- evidence and golden sets ------------------------------------------------------------------------------------------


def test_evidence_is_append_only_and_bound_to_its_manifest(world: World, raw: Raw) -> None:
    revision = make_revision(world.team)
    evidence = make_evidence(world.submitter, revision, EvidenceKind.EVALUATION)
    with refused("Evidence is append-only"):
        raw("UPDATE registry_evidence SET summary = 'perfect' WHERE id = %s", evidence.pk)
    with refused("Evidence is append-only"):
        raw("DELETE FROM registry_evidence WHERE id = %s", evidence.pk)
    other = make_revision(world.team, SHA_B)
    evidence.pk, evidence.revision, evidence.job = None, other, make_job(world.submitter)
    with refused("Evidence must be measured on the manifest of its revision"):
        Evidence.objects.bulk_create([evidence])


def test_golden_set_never_changes_and_never_grows(world: World, raw: Raw) -> None:
    golden = make_golden_set(world.submitter)
    with refused("A golden set is append-only"):
        raw("UPDATE inference_goldenset SET sha256 = sha256 WHERE id = %s", golden.pk)
    with refused("A golden example is append-only"):
        raw("UPDATE inference_goldenexample SET reference = 'positive' WHERE golden_set_id = %s", golden.pk)
    with refused("A golden example is append-only"):
        raw("DELETE FROM inference_goldenexample WHERE golden_set_id = %s", golden.pk)
    with refused("A golden set never grows"):
        GoldenExample.objects.create(golden_set=golden, number=3, inputs="one more", reference="positive")


def test_prediction_of_an_evaluation_is_append_only(world: World, raw: Raw) -> None:
    evidence = make_evidence(world.submitter, make_revision(world.team), EvidenceKind.EVALUATION)
    example = GoldenExample.objects.filter(golden_set=make_golden_set(world.submitter)).latest("pk")
    row = EvaluationPrediction.objects.create(
        evidence=evidence, example=example, prediction="positive", confidence=0.9
    )
    with refused("A prediction of an evaluation is append-only"):
        raw("UPDATE inference_evaluationprediction SET prediction = 'negative' WHERE id = %s", row.pk)


# --- approvals ---------------------------------------------------------------------------------------------------------


def test_nobody_approves_what_they_submitted(world: World) -> None:
    revision = make_revision(world.team)
    with refused():
        make_approval(world, revision, approved_by=world.submitter.user)


def test_approver_cannot_be_exchanged_for_the_submitter_later(world: World, raw: Raw) -> None:
    approval = make_approval(world, make_revision(world.team))
    with refused():
        raw("UPDATE registry_approval SET approved_by_id = submitted_by_id WHERE id = %s", approval.pk)


@pytest.mark.parametrize(
    "column",
    ["model_id", "revision_id", "environment", "use_case", "data_class", "conditions", "manifest_sha256",
     "remote_code_sha256", "content_sha256", "evidence_ids", "policy_version", "submitted_by_id", "approved_by_id",
     "approved_at", "expires_at"],
)  # fmt: skip
def test_what_was_approved_cannot_be_changed(world: World, raw: Raw, column: str) -> None:
    approval = make_approval(world, make_revision(world.team))
    with refused("What was approved cannot be changed"):
        raw(f"UPDATE registry_approval SET {column} = {column} WHERE id = %s", approval.pk)


def test_approval_cannot_be_deleted(world: World, raw: Raw) -> None:
    approval = make_approval(world, make_revision(world.team))
    with refused("An approval is a record"):
        raw("DELETE FROM registry_approval WHERE id = %s", approval.pk)


def test_approval_must_be_bound_to_its_revisions_content(world: World) -> None:
    with refused("An approval must be bound to the content of its revision"):
        make_approval(world, make_revision(world.team), manifest_sha256=sha256_text("other files"))


def test_approval_cannot_borrow_another_models_revision(world: World) -> None:
    revision = make_revision(world.team)
    other = make_revision(world.team, SHA_B, model_id="acme/other")
    approval = make_approval(world, other)
    approval.pk, approval.revision = None, revision
    approval.manifest_sha256 = revision.manifest_sha256
    with refused():  # for two reasons: the content, and no review of that revision
        Approval.objects.bulk_create([approval])


@pytest.mark.parametrize(
    ("verdict", "allowed"), [("pending", False), ("failed", False), ("passed", True), ("waived", True)]
)
def test_revision_with_code_is_approved_after_its_audit_only(
    world: World, verdict: str, allowed: bool
) -> None:
    revision = audit_code(world, make_revision(world.team, remote_code=True), verdict)
    if allowed:
        make_approval(world, revision)
    else:
        with refused("An approval must be bound to the content of its revision"):
            make_approval(world, revision)


@pytest.mark.parametrize("status", ["active", "deprecated", "suspended"])
def test_second_living_approval_of_the_same_is_refused(world: World, status: str) -> None:
    revision = make_revision(world.team)
    make_approval(world, revision, status=status)
    with refused():
        make_approval(world, revision)
    make_approval(world, revision, environment="staging")


@pytest.mark.parametrize("status", ["retired", "revoked", "expired"])
def test_new_approval_may_follow_an_ended_one(world: World, status: str) -> None:
    revision = make_revision(world.team)
    make_approval(world, revision, status=status)
    make_approval(world, revision)


# --- channels ----------------------------------------------------------------------------------------------------------


def _move(world: World, sha: str = SHA_A) -> ChannelMove:
    approval = make_approval(world, make_revision(world.team, sha))
    return move_channel(
        actor=world.release_manager,
        model=approval.model,
        name="production",
        approval=approval,
        reason="First release",
    )


def test_history_of_a_channel_is_append_only(world: World, raw: Raw) -> None:
    move = _move(world)
    with refused("The history of a channel is append-only"):
        raw("UPDATE registry_channelmove SET reason = 'because' WHERE id = %s", move.pk)
    with refused("The history of a channel is append-only"):
        raw("DELETE FROM registry_channelmove WHERE id = %s", move.pk)


@pytest.mark.parametrize("status", ["deprecated", "suspended", "retired", "revoked", "expired"])
def test_channel_moves_to_active_approvals_only(world: World, status: str) -> None:
    channel = _move(world).channel
    other = make_approval(world, make_revision(world.team, SHA_B), status=status)
    with refused("A channel can only move to an active approval of its own model"):
        ChannelMove.objects.create(
            channel=channel, number=2, kind="move", to_approval=other, reason="by hand", at=timezone.now(),
            by=world.release_manager.user,
        )  # fmt: skip


def test_channel_cannot_move_to_another_models_approval(world: World) -> None:
    channel = _move(world).channel
    other = make_approval(world, make_revision(world.team, SHA_B, model_id="acme/other"))
    with refused("A channel can only move to an active approval of its own model"):
        ChannelMove.objects.create(
            channel=channel, number=2, kind="move", to_approval=other, reason="by hand", at=timezone.now(),
            by=world.release_manager.user,
        )  # fmt: skip


def test_channel_points_nowhere_but_at_its_last_move(world: World, raw: Raw) -> None:
    """The pointer is what consumers read: moving it without its history would be a silent release."""
    channel = _move(world).channel
    silent = make_approval(world, make_revision(world.team, SHA_B))
    with refused("A channel points at its last move"):
        raw("UPDATE registry_channel SET current_id = %s WHERE id = %s", silent.pk, channel.pk)
    with refused("A channel points at its last move"):
        Channel.objects.create(model=silent.model, name="staging", current=silent)


# --- jobs --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["queued", "running"])
@pytest.mark.parametrize("second", ["queued", "running"])
def test_one_open_job_per_subject_and_kind(world: World, first: str, second: str) -> None:
    make_job(world.submitter, state=first, subject="revision:1")
    with refused():
        make_job(world.submitter, state=second, subject="revision:1")


def test_ended_jobs_leave_room_for_another(world: World) -> None:
    for state in set(JobState.values) - {"queued", "running"}:
        make_job(world.submitter, state=state, subject="revision:1")
    make_job(world.submitter, subject="revision:1")


@pytest.mark.parametrize(
    "change",
    ["state = 'running'", "lease_owner = 'me'", "finished_at = created_at", "state = 'succeeded'"],
)
def test_job_row_cannot_contradict_itself(world: World, raw: Raw, change: str) -> None:
    job = make_job(world.submitter)
    with refused():
        raw(f"UPDATE registry_job SET {change} WHERE id = %s", job.pk)
    assert Job.objects.get(pk=job.pk).state == "queued"


def test_running_job_needs_a_lease_and_no_end(world: World, raw: Raw) -> None:
    job = make_job(world.submitter, state="running")
    for change in ("lease_owner = ''", "lease_until = NULL", "finished_at = created_at"):
        with refused():
            raw(f"UPDATE registry_job SET {change} WHERE id = %s", job.pk)


def test_model_is_registered_once_per_team_and_revision_once_per_model(world: World) -> None:
    revision = make_revision(world.team)
    assert revision.model.model_id == MODEL_ID
    with refused():
        make_revision(world.team, files={})
    make_revision(world.other.in_team)
