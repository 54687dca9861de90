"""Reminders: the steps as a table, each said once, and shown at home."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.test import Client
from django.utils import timezone

from registry.models import AuditEvent, Reminder
from registry.services.reminders import remind, step_of
from tests.factories import World, make_approval, make_revision


@pytest.mark.parametrize(
    ("left", "step"),
    [
        (-1, None),
        (0, 1),
        (1, 1),
        (2, 7),
        (7, 7),
        (8, 14),
        (14, 14),
        (15, 30),
        (30, 30),
        (31, None),
        (200, None),
    ],
)
def test_step(left: int, step: int | None) -> None:
    assert step_of(date(2027, 1, 1) + timedelta(days=left), date(2027, 1, 1)) == step


def test_each_step_is_said_once(world: World, client: Client) -> None:
    now = timezone.now()
    make_approval(
        world,
        make_revision(world.team),
        expires_at=now + timedelta(days=13),
        review_by=now.date() + timedelta(days=5),
    )
    assert (remind(), remind()) == (2, 0)
    assert set(Reminder.objects.values_list("kind", "days")) == {("expiry", 14), ("review", 7)}
    verbs = set(AuditEvent.objects.values_list("verb", flat=True))
    assert verbs == {"approval.ends_soon", "approval.review_due"}
    client.force_login(world.reviewer.user)
    assert "Its approval ends on" in client.get("/").content.decode()
    client.force_login(world.viewer.user)
    assert "Its approval ends on" not in client.get("/").content.decode()


def test_what_is_not_served_is_not_reminded_of(world: World) -> None:
    soon = timezone.now() + timedelta(days=3)
    make_approval(world, make_revision(world.team), expires_at=soon, status="suspended")
    assert remind() == 0 and not Reminder.objects.exists()
