"""Which revision was live then, who approved it, on which evidence? A year of one channel, asked at every corner."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client

from registry import audit, history
from registry.actors import Actor
from registry.enums import EvidenceKind
from registry.exceptions import InvalidInput
from registry.models import Approval, AuditEvent, Channel, ChannelMove
from registry.services.approvals import change_approval, expire_approvals
from registry.services.channels import move_channel
from tests.factories import Api, World, make_approval, make_evidence, make_revision
from tests.house.rules import without_rules

YEAR = 2025
A, B = "a" * 40, "b" * 40


def day(month: int, number: int = 1, hour: int = 12) -> datetime:
    return datetime(YEAR, month, number, hour, tzinfo=UTC)


class Year:
    """January: A approved and moved to production. March: B. April: B suspended, May: resumed. July: B deprecated, August:
    suspended and revoked. September: back to A, whose approval ends on 1 November."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.a = self.approve(A, day(1))
        self.move(self.a, day(1, 2))
        self.b = self.approve(B, day(3))
        self.move(self.b, day(3, 2))
        self.change(self.b, "suspend", world.admin, day(4))
        self.change(self.b, "resume", world.release_manager, day(5))
        self.change(self.b, "deprecate", world.admin, day(7))
        self.change(self.b, "suspend", world.reviewer, day(8))
        self.change(self.b, "revoke", world.admin, day(8, 2))
        self.move(self.a, day(9))

    def approve(self, sha: str, at: datetime) -> Approval:
        revision = make_revision(self.world.team, sha)
        run = make_evidence(self.world.submitter, revision, EvidenceKind.EVALUATION)
        found = make_approval(
            self.world,
            revision,
            approved_at=at,
            evidence_ids=[run.pk],
            expires_at=day(1) + timedelta(days=9999),
        )
        with transaction.atomic():
            audit.record(actor=self.world.reviewer, verb="approval.granted", subject=found)
        self.dated(at)
        return found

    def move(self, approval: Approval, at: datetime) -> None:
        move_channel(
            actor=self.world.release_manager, model=approval.model, name="production", approval=approval,
            reason="It is approved.",
        )  # fmt: skip
        last = ChannelMove.objects.latest("number")
        ChannelMove.objects.filter(pk=last.pk).update(at=at)
        self.dated(at)

    def change(self, approval: Approval, action: str, actor: Actor, at: datetime) -> None:
        change_approval(actor=actor, approval=approval, action=action, reason=f"To {action} it was right.")
        self.dated(at)

    def dated(self, at: datetime) -> None:
        AuditEvent.objects.filter(seq=AuditEvent.objects.latest("seq").seq).update(at=at)


@pytest.fixture
def year(world: World) -> Any:
    with without_rules(connection):
        made = Year(world)
        Approval.objects.filter(pk=made.a.pk).update(expires_at=day(11))
        Approval.objects.filter(pk=made.b.pk).update(expires_at=day(12, 31))
        yield made


# at, commit, state, served, by whom the state was set, who moved
MATRIX: list[tuple[datetime, str | None, str | None, bool, str]] = [
    (day(1, 1), None, None, False, ""),
    (day(1, 2, 11), None, None, False, ""),
    (day(1, 2, 12), A, "active", True, "reviewer"),
    (day(2), A, "active", True, "reviewer"),
    (day(3, 2, 11), A, "active", True, "reviewer"),
    (day(3, 2, 12), B, "active", True, "reviewer"),
    (day(4, 1, 13), B, "suspended", False, "admin"),
    (day(4, 30), B, "suspended", False, "admin"),
    (day(5, 2), B, "active", True, "release_manager"),
    (day(7, 2), B, "deprecated", True, "admin"),
    (day(8, 1, 13), B, "suspended", False, "reviewer"),
    (day(8, 3), B, "revoked", False, "admin"),
    (day(9, 1, 11), B, "revoked", False, "admin"),
    (day(9, 1, 13), A, "active", True, "reviewer"),
    (day(10, 31), A, "active", True, "reviewer"),
    (day(11, 1, 13), A, "expired", False, ""),
    (day(12, 31), A, "expired", False, ""),
]


def channel() -> Channel:
    return Channel.objects.select_related("model").get()


def test_each_moment_of_the_year(year: Year) -> None:
    found = []
    for at, *_ in MATRIX:
        then = history.channel_at(channel(), at)
        sha = then.approval.revision.commit_sha if then.approval else None
        state = then.state
        found.append((at, sha, str(state.status) if state else None, then.served, state.by if state else ""))
    assert found == MATRIX


def test_noting_the_expiry_later_changes_no_answer(year: Year) -> None:
    """A sweep that was late writes when it came, and the approval had ended before."""
    assert expire_approvals() == 1
    for at, sha, state, served, _ in MATRIX:
        then = history.channel_at(channel(), at)
        assert (then.served, str(then.state.status) if then.state else None) == (served, state), (at, sha)


def test_api_answers_who_approved_it_and_on_which_evidence(
    year: Year, world: World, api: Callable[..., Api]
) -> None:
    client = api(world.auditor)
    found = client.get("/models/acme/sentiment-vi-en/channels/production?at=2025-04-15T12:00:00Z").data
    assert (found["commit_sha"], found["served"]) == (B, False)
    approval = found["approval"]
    assert (approval["status"], approval["status_by"]) == ("suspended", "admin")
    assert approval["status_reason"] == "To suspend it was right."
    assert (approval["approved_by"], approval["submitted_by"]) == ("reviewer", "submitter")
    assert [row["id"] for row in found["evidence"]] == year.b.evidence_ids
    assert found["move"]["until"] == day(9).isoformat()
    assert (
        "pointed at bbbbbbb, and nobody was served: its approval was suspended by admin" in found["sentence"]
    )
    at_the_end_of_the_day = client.get("/models/acme/sentiment-vi-en/channels/production?at=2025-01-02").data
    assert at_the_end_of_the_day["commit_sha"] == A
    before = client.get("/models/acme/sentiment-vi-en/channels/production?at=2024-12-31").data
    assert before["commit_sha"] is None and "nothing was live" in before["sentence"]
    assert "moves" in client.get("/models/acme/sentiment-vi-en/channels/production").data
    assert (
        api(world.other).get("/models/acme/sentiment-vi-en/channels/production?at=2025-01-02").status == 404
    )


def test_page_answers_in_words(year: Year, world: World, client: Client) -> None:
    client.force_login(world.auditor.user)
    page = client.get(f"/channels/{channel().pk}/?at=2025-04-15T12:00").content.decode()
    assert "pointed at bbbbbbb, and nobody was served" in page and "To suspend it was right." in page
    page = client.get(f"/channels/{channel().pk}/?at=2025-02-15").content.decode()
    assert "production served aaaaaaa, approved by reviewer on 2025-01-01 on the evidence of 1 run" in page
    page = client.get(f"/channels/{channel().pk}/?at=yesterday").content.decode()
    assert "Write a moment as" in page


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2025-13-01",
        "2025-01-01T25:00",
        "99999-01-01",
        "2999-01-01",
        "0001-01-01T00:00+23:59",
    ],
)
def test_moment_that_is_none_is_refused(text: str, world: World, api: Callable[..., Api]) -> None:
    with pytest.raises(InvalidInput):
        history.parse_moment(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-03-31", datetime(2025, 3, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2025-03-31T14:00:00Z", datetime(2025, 3, 31, 14, tzinfo=UTC)),
        ("2025-03-31T14:00", datetime(2025, 3, 31, 14, tzinfo=UTC)),
        ("2025-03-31T14:00:00+07:00", datetime(2025, 3, 31, 7, tzinfo=UTC)),
        (
            "2025-03-31T14:00:00 07:00",
            datetime(2025, 3, 31, 7, tzinfo=UTC),
        ),  # a plus that nobody encoded in the address
    ],
)
def test_moment_is_read_as_utc(text: str, expected: datetime) -> None:
    assert history.parse_moment(text) == expected


def test_today_means_until_now() -> None:
    now = datetime.now(UTC)
    assert history.parse_moment(now.date().isoformat()) <= datetime.now(UTC)
