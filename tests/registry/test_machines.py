"""The machines of approvals and jobs: every state times every action, written by hand, not computed from the code."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction
from django.utils import timezone

from registry import jobs
from registry.enums import ApprovalStatus, JobState
from registry.exceptions import Conflict, InvalidInput, NotAllowed
from registry.machines import APPROVAL, JOB, Machine
from registry.models import AuditEvent, Job
from registry.services.approvals import change_approval, expire_approvals
from tests.factories import World, make_approval, make_job, make_member, make_revision

_ = ""  # refused

APPROVAL_TABLE = """
            | deprecate  | suspend   | resume | revoke  | retire  | expire
active      | deprecated | suspended | -      | -       | -       | expired
deprecated  | -          | suspended | -      | -       | retired | expired
suspended   | -          | -         | active | revoked | -       | -
retired     | -          | -         | -      | -       | -       | -
revoked     | -          | -         | -      | -       | -       | -
expired     | -          | -         | -      | -       | -       | -
"""

JOB_TABLE = """
            | claim   | succeed   | fail   | cancel    | time_out  | requeue
queued      | running | -         | -      | cancelled | -         | -
running     | -       | succeeded | failed | cancelled | timed_out | queued
succeeded   | -       | -         | -      | -         | -         | -
failed      | -       | -         | -      | -         | -         | -
cancelled   | -       | -         | -      | -         | -         | -
timed_out   | -       | -         | -      | -         | -         | -
"""


def cells(table: str) -> list[tuple[str, str, str]]:
    """(state, action, target or "-") of every cell."""
    head, *rows = [[cell.strip() for cell in line.split("|")] for line in table.strip("\n").splitlines()]
    return [
        (row[0], action, target) for row in rows for action, target in zip(head[1:], row[1:], strict=True)
    ]


def check_machine(machine: Machine, table: str) -> None:
    """The table says the whole machine: its states, its actions, and what happens in every cell."""
    rows = cells(table)
    assert {state for state, _, _ in rows} == set(machine.states)
    assert {action for _, action, _ in rows} == set(machine.actions)
    for state, action, target in rows:
        if target == "-":
            assert not machine.allows(state, action)
            with pytest.raises(Conflict) as refusal:
                machine.target(state, action)
            assert refusal.value.code == "wrong_state"
            assert f"This {machine.name} is {state.replace('_', ' ')}" in refusal.value.message
        else:
            assert machine.target(state, action) == target


def test_approval_machine_is_this_table() -> None:
    check_machine(APPROVAL, APPROVAL_TABLE)


def test_job_machine_is_this_table() -> None:
    check_machine(JOB, JOB_TABLE)


# --- the same table, through the service, on the running database ------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "action", "target"), [c for c in cells(APPROVAL_TABLE) if c[1] != "expire"]
)
def test_approval_moves_through_its_service_as_the_table_says(
    world: World, state: str, action: str, target: str
) -> None:
    approval = make_approval(world, make_revision(world.team), status=state)
    if target == "-":
        with pytest.raises(Conflict):
            change_approval(
                actor=world.admin, approval=approval, action=action, reason="It was found wanting."
            )
        approval.refresh_from_db()
        assert approval.status == state and not AuditEvent.objects.exists()
        return
    changed = change_approval(
        actor=world.admin, approval=approval, action=action, reason="It was found wanting."
    )
    approval.refresh_from_db()
    assert (changed.status, approval.status) == (target, target)
    assert approval.status_by_id == world.admin.user.pk and approval.status_reason == "It was found wanting."
    event = AuditEvent.objects.get()
    assert event.object_id == approval.pk and event.actor_id == world.admin.user.pk


@pytest.mark.parametrize("state", ["retired", "revoked", "expired"])
@pytest.mark.parametrize("to", ["active", "deprecated", "suspended"])
def test_ended_approval_stays_ended_under_raw_sql(
    world: World, raw: Callable[..., int], state: str, to: str
) -> None:
    approval = make_approval(world, make_revision(world.team), status=state)
    with (
        pytest.raises(DatabaseError, match="A revoked, retired or expired approval stays so"),
        transaction.atomic(),
    ):
        raw("UPDATE registry_approval SET status = %s WHERE id = %s", to, approval.pk)


def test_resuming_needs_somebody_else_than_who_suspended(world: World) -> None:
    approval = make_approval(world, make_revision(world.team))
    change_approval(actor=world.admin, approval=approval, action="suspend", reason="A finding came in.")
    with pytest.raises(NotAllowed, match="You suspended it, so somebody else must resume it"):
        change_approval(actor=world.admin, approval=approval, action="resume", reason="It was nothing.")
    change_approval(actor=world.release_manager, approval=approval, action="resume", reason="It was nothing.")
    approval.refresh_from_db()
    assert approval.status == ApprovalStatus.ACTIVE


def test_reviewer_may_suspend_and_not_resume(world: World) -> None:
    approval = make_approval(world, make_revision(world.team))
    change_approval(actor=world.reviewer, approval=approval, action="suspend", reason="A finding came in.")
    second = make_member(world.team, *[r for r in world.reviewer.roles])  # type: ignore[arg-type]
    with pytest.raises(NotAllowed):
        change_approval(actor=second, approval=approval, action="resume", reason="It was nothing.")


@pytest.mark.parametrize("reason", ["", "   ", "why"])
def test_change_without_a_reason_is_refused(world: World, reason: str) -> None:
    approval = make_approval(world, make_revision(world.team))
    with pytest.raises(InvalidInput) as refusal:
        change_approval(actor=world.admin, approval=approval, action="suspend", reason=reason)
    assert refusal.value.code == "reason_missing"


def test_approvals_past_their_date_expire_once(world: World) -> None:
    past = timezone.now() - timedelta(seconds=1)
    due = [
        make_approval(world, make_revision(world.team, sha * 40), status=status, expires_at=past)
        for sha, status in (("1", "active"), ("2", "deprecated"))
    ]
    suspended = make_approval(world, make_revision(world.team, "3" * 40), status="suspended", expires_at=past)
    living = make_approval(world, make_revision(world.team, "4" * 40))
    assert (expire_approvals(), expire_approvals()) == (2, 0)
    for approval in (*due, suspended, living):
        approval.refresh_from_db()
    assert [a.status for a in due] == ["expired", "expired"]
    assert (suspended.status, living.status) == ("suspended", "active")
    assert {e.verb for e in AuditEvent.objects.all()} == {"approval.expired"}
    assert set(AuditEvent.objects.values_list("actor_id", flat=True)) == {None}


@pytest.mark.parametrize("state", JobState.values)
def test_job_in_any_state_is_cancelled_as_the_table_says(world: World, state: str) -> None:
    job = make_job(world.submitter, state=state)
    outcome: dict[str, Any] = {"queued": "cancelled", "running": "running"}
    if state not in outcome:
        with pytest.raises(Conflict):
            jobs.cancel(actor=world.submitter, job=job)
        return
    jobs.cancel(actor=world.submitter, job=job)
    job.refresh_from_db()
    assert job.state == outcome[state]
    assert (job.cancel_requested_at is not None) == (state == "running")


@pytest.mark.parametrize("state", sorted(set(JobState.values) - {"queued"}))
def test_only_a_queued_job_can_be_claimed(world: World, state: str) -> None:
    job = make_job(world.submitter, state=state)
    assert jobs.claim(job.pk, "me") is None
    assert Job.objects.get(pk=job.pk).state == state
