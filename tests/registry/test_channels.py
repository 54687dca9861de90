"""Channels: a move, a rollback, and every reason why not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from registry.exceptions import Conflict, InvalidInput, NotAllowed
from registry.models import Approval, AuditEvent, Channel, ChannelMove
from registry.services.approvals import change_approval
from registry.services.channels import move_channel, roll_back_channel
from tests.factories import MODEL_ID, SHA_A, SHA_B, SHA_C, Api, World, make_approval, make_revision
from tests.house.rules import without_rules

Clients = Callable[..., Api]
PATH = f"/models/{MODEL_ID}/channels/production"


def move(
    world: World, approval: Approval, name: str = "production", reason: str = "It passed the review"
) -> ChannelMove:
    return move_channel(
        actor=world.release_manager, model=approval.model, name=name, approval=approval, reason=reason
    )


def approvals(world: World, *shas: str) -> list[Approval]:
    return [make_approval(world, make_revision(world.team, sha)) for sha in shas]


def test_move_writes_pointer_history_and_audit(world: World) -> None:
    first, second = approvals(world, SHA_A, SHA_B)
    move(world, first)
    move(world, second, reason="Twice as good on the golden set")
    channel = Channel.objects.get()
    assert channel.current == second
    rows = list(ChannelMove.objects.order_by("number"))
    assert [(r.number, r.kind, r.from_approval, r.to_approval) for r in rows] == [
        (1, "move", None, first), (2, "move", first, second),
    ]  # fmt: skip
    assert rows[1].by == world.release_manager.user and rows[1].reason == "Twice as good on the golden set"
    assert [e.verb for e in AuditEvent.objects.order_by("seq")] == ["channel.moved", "channel.moved"]


def test_roll_back_is_one_call_and_says_who_when_why(world: World, api: Clients) -> None:
    first, second = approvals(world, SHA_A, SHA_B)
    move(world, first)
    move(world, second)
    answer = api(world.admin).post(f"{PATH}/rollback", {"reason": "It answers nonsense"})
    assert answer.status == 201
    assert (answer.data["kind"], answer.data["from_commit_sha"], answer.data["commit_sha"]) == (
        "rollback",
        SHA_B,
        SHA_A,
    )
    history = api(world.viewer).get(PATH).data
    assert history["commit_sha"] == SHA_A
    assert [(m["number"], m["kind"], m["by"]) for m in history["moves"]] == [
        (3, "rollback", "admin"), (2, "move", "release_manager"), (1, "move", "release_manager"),
    ]  # fmt: skip
    assert history["moves"][0]["reason"] == "It answers nonsense"
    assert AuditEvent.objects.get(verb="channel.rolled_back").actor_id == world.admin.user.pk


def test_roll_back_skips_what_is_not_approved_any_more(world: World) -> None:
    first, second, third = approvals(world, SHA_A, SHA_B, SHA_C)
    for approval in (first, second, third):
        move(world, approval)
    change_approval(actor=world.admin, approval=second, action="suspend", reason="A finding came in.")
    back = roll_back_channel(actor=world.admin, channel=Channel.objects.get(), reason="It answers nonsense")
    assert back.to_approval == first


def test_roll_back_without_anything_earlier_is_refused(world: World, api: Clients) -> None:
    (first,) = approvals(world, SHA_A)
    move(world, first)
    answer = api(world.admin).post(f"{PATH}/rollback", {"reason": "It answers nonsense"})
    assert (answer.status, answer.code) == (409, "nothing_to_roll_back_to")


def test_roll_back_to_a_named_commit(world: World, api: Clients) -> None:
    for approval in approvals(world, SHA_A, SHA_B, SHA_C):
        move(world, approval)
    body = {"reason": "Back to the first one", "commit_sha": SHA_A}
    assert api(world.admin).post(f"{PATH}/rollback", body).data["commit_sha"] == SHA_A


@pytest.mark.parametrize("action", ["deprecate", "suspend"])
def test_only_active_approvals_go_live(world: World, action: str) -> None:
    (approval,) = approvals(world, SHA_A)
    change_approval(actor=world.admin, approval=approval, action=action, reason="A finding came in.")
    with pytest.raises(Conflict, match="only an active approval can go live") as refusal:
        move(world, approval)
    assert refusal.value.code == "not_active" and not ChannelMove.objects.exists()


def test_approval_past_its_date_does_not_go_live(world: World) -> None:
    (approval,) = approvals(world, SHA_A)
    with without_rules(connection):
        Approval.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(Conflict) as refusal:
        move(world, approval)
    assert refusal.value.code == "expired"


def test_roll_back_does_not_choose_an_approval_past_its_date(world: World) -> None:
    first, second, third = approvals(world, SHA_A, SHA_B, SHA_C)
    for approval in (first, second, third):
        move(world, approval)
    with without_rules(connection):
        Approval.objects.filter(pk=second.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    back = roll_back_channel(actor=world.admin, channel=Channel.objects.get(), reason="It answers nonsense")
    assert back.to_approval == first


def test_production_takes_only_what_was_approved_for_production(world: World) -> None:
    approval = make_approval(world, make_revision(world.team), environment="staging")
    with pytest.raises(Conflict, match="was approved for staging only") as refusal:
        move(world, approval)
    assert refusal.value.code == "wrong_environment"
    move(world, approval, "staging")


def test_what_is_live_cannot_be_moved_to_itself(world: World) -> None:
    (approval,) = approvals(world, SHA_A)
    move(world, approval)
    with pytest.raises(Conflict) as refusal:
        move(world, approval)
    assert refusal.value.code == "already_live"


@pytest.mark.parametrize("name", ["Production", "1st", "-x", "a b", "", "x" * 40, "prod/uction", "prod\n"])
def test_bad_channel_name_is_refused(world: World, name: str) -> None:
    (approval,) = approvals(world, SHA_A)
    with pytest.raises(InvalidInput) as refusal:
        move(world, approval, name)
    assert refusal.value.code == "bad_channel_name" and not Channel.objects.exists()


def test_admin_may_roll_back_and_not_move(world: World) -> None:
    (approval,) = approvals(world, SHA_A)
    with pytest.raises(NotAllowed):
        move_channel(
            actor=world.admin,
            model=approval.model,
            name="production",
            approval=approval,
            reason="Because I can",
        )


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"reason": "It passed the review"}, 422, "invalid_input"),
        ({"commit_sha": SHA_A}, 422, "invalid_input"),
        ({"commit_sha": SHA_A, "reason": "ok"}, 422, "reason_missing"),
        ({"commit_sha": SHA_A.upper(), "reason": "It passed the review"}, 422, "invalid_input"),
        ({"commit_sha": "main", "reason": "It passed the review"}, 422, "invalid_input"),
        ({"commit_sha": SHA_C, "reason": "It passed the review"}, 404, "revision_unknown"),
        ({"commit_sha": SHA_B, "reason": "It passed the review"}, 404, "not_approved"),
    ],
)
def test_move_by_api_is_refused_with_the_reason(
    world: World, api: Clients, body: dict[str, str], status: int, code: str
) -> None:
    approvals(world, SHA_A)
    make_revision(world.team, SHA_B)
    answer = api(world.release_manager).post(f"{PATH}/moves", body)
    assert (answer.status, answer.code) == (status, code)
    assert not Channel.objects.filter(current__isnull=False).exists()
