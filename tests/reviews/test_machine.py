"""The review machine: every state times every action, written by hand, and driven through its one door."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from registry.exceptions import Conflict
from registry.models import AuditEvent
from reviews import machines
from reviews.machines import REVIEW
from reviews.models import ReviewRequest, Vote
from tests.factories import World, make_approval, make_review, make_revision
from tests.registry.test_machines import cells, check_machine

TABLE = """
                  | submit    | start_checks   | fail_checks       | pass_checks | request_changes   | approve  | reject   | withdraw  | supersede
draft             | submitted | -              | -                 | -           | -                 | -        | -        | withdrawn | -
submitted         | -         | checks_running | changes_requested | -           | -                 | -        | -        | withdrawn | superseded
checks_running    | -         | -              | changes_requested | in_review   | -                 | -        | -        | withdrawn | superseded
in_review         | -         | -              | -                 | -           | changes_requested | approved | rejected | withdrawn | superseded
changes_requested | submitted | -              | -                 | -           | -                 | -        | -        | withdrawn | superseded
approved          | -         | -              | -                 | -           | -                 | -        | -        | -         | -
rejected          | -         | -              | -                 | -           | -                 | -        | -        | -         | -
withdrawn         | -         | -              | -                 | -           | -                 | -        | -        | -         | -
superseded        | -         | -              | -                 | -           | -                 | -        | -        | -         | -
"""  # noqa: E501 - a table is read in columns


def test_review_machine_is_this_table() -> None:
    check_machine(REVIEW, TABLE)


def born(world: World, state: str) -> ReviewRequest:
    """A request in this state, decided as the database wants it."""
    revision = make_revision(world.team)
    if state == "approved":
        return make_approval(world, revision, environment="staging").review_request
    decided: dict[str, Any] = {
        "decision": state,
        "decision_at": timezone.now(),
        "decision_by": world.reviewer.user,
    }
    return make_review(world, revision, status=state, **(decided if state == "rejected" else {}))


def decision(world: World, request: ReviewRequest, target: str) -> dict[str, Any]:
    """The decider's vote, and what goes with the decision that `target` is."""
    if target not in ("approved", "rejected"):
        return {}
    fields: dict[str, Any] = {
        "decision": target, "decision_at": timezone.now(), "decision_by": world.reviewer.user,
    }  # fmt: skip
    if target == "approved":
        assert request.revision
        return {
            **fields,
            "approval": make_approval(world, request.revision, environment="staging", review=request),
        }
    Vote.objects.create(
        request=request, round=1, reviewer=world.reviewer.user, decision=target, at=timezone.now(),
        content_sha256=request.content_sha256,
    )  # fmt: skip
    return fields


@pytest.mark.parametrize(("state", "action", "target"), cells(TABLE))
def test_request_moves_through_its_door_as_the_table_says(
    world: World, state: str, action: str, target: str
) -> None:
    request = born(world, state)
    fields = decision(world, request, target)
    locked = machines.lock(request.pk)
    if target == "-":
        with pytest.raises(Conflict):
            machines.move(locked, action, actor=world.reviewer)
    else:
        machines.move(locked, action, actor=world.reviewer, **fields)
    found = ReviewRequest.objects.get(pk=request.pk)
    assert found.status == (state if target == "-" else target)
    assert AuditEvent.objects.count() == (0 if target == "-" else 1)
    if target != "-":
        assert found.status_by_id == world.reviewer.user.pk
        assert AuditEvent.objects.get().verb == machines.VERBS[action]
