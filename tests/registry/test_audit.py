"""The audit chain: it verifies, every kind of forgery is seen and named, and without it nothing happens."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from registry import audit
from registry.audit import GENESIS, link_hash
from registry.canonical import canonical_json
from registry.enums import Role
from registry.models import AccessEvent, ApiToken, Approval, AuditEvent, Channel, ChannelMove, Job
from registry.services.approvals import change_approval
from registry.services.channels import move_channel
from registry.services.tokens import create_token, revoke_token
from reviews.models import Answer, ReviewRequest, Vote
from reviews.services.answering import save_answers
from reviews.services.deciding import decide
from reviews.services.submissions import withdraw
from tests.factories import (
    World,
    make_approval,
    make_member,
    make_review,
    make_revision,
    make_world,
)
from tests.house.rules import without_rules

Raw = Callable[..., int]


def write(world: World, count: int = 4) -> None:
    with transaction.atomic():
        for number in range(count):
            audit.record(actor=world.admin, verb="team.created", subject=world.team, name=f"Đội {number}")


def test_empty_chain_is_whole(world: World) -> None:
    assert audit.verify() == audit.Verification(True, 0, GENESIS.hex())


def test_chain_of_events_verifies_and_names_its_head(world: World) -> None:
    write(world)
    found = audit.verify()
    last = AuditEvent.objects.latest("seq")
    assert found == audit.Verification(True, 4, bytes(last.hash).hex())
    assert [e.seq for e in AuditEvent.objects.order_by("seq")] == [1, 2, 3, 4]


def test_link_is_the_documented_formula(world: World) -> None:
    """An outsider with the database and docs/adr/0003 can check it without our code."""
    write(world, 2)
    first, second = AuditEvent.objects.order_by("seq")
    at_us = int(second.at.timestamp()) * 1_000_000 + second.at.microsecond
    payload = (
        b"audit-v1\0" + (2).to_bytes(8, "big") + bytes(first.hash) + at_us.to_bytes(8, "big", signed=True)
        + hashlib.sha256(second.body.encode()).digest()
    )  # fmt: skip
    assert bytes(second.hash) == hashlib.sha256(payload).digest() and bytes(second.prev) == bytes(first.hash)


def forged_body(body: str) -> str:
    data = json.loads(body)
    data["data"]["name"] = "another"
    return canonical_json(data)


def rehash(event: AuditEvent) -> None:
    """What a careful forger does: the forged link carries a hash that fits it."""
    AuditEvent.objects.filter(pk=event.pk).update(
        body=event.body, hash=link_hash(event.seq, bytes(event.prev), event.at, event.body)
    )


def change_body(events: list[AuditEvent]) -> None:
    AuditEvent.objects.filter(pk=2).update(body=forged_body(events[1].body))


def change_body_and_its_hash(events: list[AuditEvent]) -> None:
    events[1].body = forged_body(events[1].body)
    rehash(events[1])


def change_last_body_and_its_hash(events: list[AuditEvent]) -> None:
    # Nothing follows it, so only an outside copy of the head sees this: see the test below.
    events[3].body = forged_body(events[3].body)
    rehash(events[3])


def change_time(events: list[AuditEvent]) -> None:
    AuditEvent.objects.filter(pk=2).update(at=events[0].at)


def change_who(events: list[AuditEvent]) -> None:
    AuditEvent.objects.filter(pk=2).update(actor_id=999)


def change_verb(events: list[AuditEvent]) -> None:
    AuditEvent.objects.filter(pk=2).update(verb="token.created")


def change_team(events: list[AuditEvent]) -> None:
    AuditEvent.objects.filter(pk=2).update(team_id=None)


def change_object(events: list[AuditEvent]) -> None:
    AuditEvent.objects.filter(pk=2).update(object_type="job")


def remove_first(events: list[AuditEvent]) -> None:
    AuditEvent.objects.filter(pk=1).delete()


def remove_middle(events: list[AuditEvent]) -> None:
    AuditEvent.objects.filter(pk=2).delete()


def remove_and_close_the_gap(events: list[AuditEvent]) -> None:
    AuditEvent.objects.filter(pk=2).delete()
    AuditEvent.objects.filter(pk=3).update(seq=2)
    AuditEvent.objects.filter(pk=4).update(seq=3)


def swap_two(events: list[AuditEvent]) -> None:
    AuditEvent.objects.filter(pk=2).update(seq=99)
    AuditEvent.objects.filter(pk=3).update(seq=2)
    AuditEvent.objects.filter(pk=99).update(seq=3)


def insert_one(events: list[AuditEvent]) -> None:
    for seq in (4, 3):
        AuditEvent.objects.filter(pk=seq).update(seq=seq + 1)
    forged = AuditEvent.objects.get(pk=2)
    forged.pk, forged.prev = 3, events[1].hash
    forged.hash = link_hash(3, bytes(forged.prev), forged.at, forged.body)
    AuditEvent.objects.bulk_create([forged])


@pytest.mark.parametrize(
    ("forge", "problem"),
    [
        (change_body, "Event 2 was changed after it was written."),
        (change_time, "Event 2 was changed after it was written."),
        (change_body_and_its_hash, "Event 3 does not follow event 2: it was changed, moved or replaced."),
        (change_who, "The columns of event 2 say something else than its body."),
        (change_verb, "The columns of event 2 say something else than its body."),
        (change_team, "The columns of event 2 say something else than its body."),
        (change_object, "The columns of event 2 say something else than its body."),
        (remove_first, "Event 1 is missing: the next one found is 2."),
        (remove_middle, "Event 2 is missing: the next one found is 3."),
        (remove_and_close_the_gap, "Event 2 does not follow event 1: it was changed, moved or replaced."),
        (swap_two, "Event 2 does not follow event 1: it was changed, moved or replaced."),
        (insert_one, "Event 4 does not follow event 3: it was changed, moved or replaced."),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_forgery_is_seen_and_named(
    world: World, forge: Callable[[list[AuditEvent]], None], problem: str
) -> None:
    write(world)
    with without_rules(connection):
        forge(list(AuditEvent.objects.order_by("seq")))
        found = audit.verify()
        assert (found.ok, found.problem) == (False, problem)


@pytest.mark.parametrize(
    "forge", [change_last_body_and_its_hash, lambda _: AuditEvent.objects.filter(pk=4).delete()]
)
def test_forged_or_cut_tail_shows_in_the_head(world: World, forge: Callable[[list[AuditEvent]], Any]) -> None:
    """No chain sees its own tail cut; the head that somebody wrote down elsewhere does."""
    write(world)
    before = audit.verify()
    with without_rules(connection):
        forge(list(AuditEvent.objects.order_by("seq")))
        after = audit.verify()
    assert after.ok and after.head != before.head


def test_access_chain_verifies_on_its_own(world: World) -> None:
    for _ in range(3):
        audit.record_access(actor=world.viewer, verb="access.denied", action="to peek")
    assert audit.verify(AccessEvent).length == 3 and audit.verify().length == 0


def test_verb_without_a_sentence_is_refused(world: World) -> None:
    with (
        pytest.raises(ValueError, match=r"the audit verb 'team.painted' has no sentence"),
        transaction.atomic(),
    ):
        audit.record(actor=world.admin, verb="team.painted", subject=None)


@pytest.mark.django_db(transaction=True)
def test_event_outside_a_transaction_is_refused() -> None:
    world = make_world()
    with pytest.raises(RuntimeError, match="inside the transaction of the act"):
        audit.record(actor=world.admin, verb="team.created", subject=world.team, name="x")


def test_sentences_name_the_person_and_the_short_sha(world: World) -> None:
    approval = make_approval(world, make_revision(world.team))
    change_approval(actor=world.admin, approval=approval, action="suspend", reason="A finding came in.")
    (shown,) = audit.shown(list(AuditEvent.objects.all()))
    assert (
        shown.sentence == "admin suspended the approval of acme/sentiment-vi-en@aaaaaaa: A finding came in."
    )


def test_data_cannot_speak_as_format_codes(world: World) -> None:
    with transaction.atomic():
        audit.record(
            actor=world.admin, verb="team.created", subject=world.team, name="{actor.user.password} {0}"
        )
    (shown,) = audit.shown(list(AuditEvent.objects.all()))
    assert shown.sentence == "admin created the team {actor.user.password} {0}"


def test_every_sentence_can_be_read_with_any_data() -> None:
    for sentence in audit.SENTENCES.values():
        assert "None" not in sentence.format_map(audit._Blank(actor="Ada"))


# --- no audit, no act --------------------------------------------------------------------------------------------------

ACTS: dict[str, Callable[[World], Any]] = {
    "suspend": lambda w: change_approval(
        actor=w.admin, approval=Approval.objects.get(), action="suspend", reason="A finding came in."
    ),
    "move": lambda w: move_channel(
        actor=w.release_manager, model=Approval.objects.get().model, name="production",
        approval=Approval.objects.get(), reason="First release",
    ),
    "reject": lambda w: decide(
        actor=w.reviewer, request_pk=ReviewRequest.objects.get(status="in_review").pk, decision="rejected",
        reason="The labels are swapped.",
    ),
    "answer": lambda w: save_answers(
        actor=w.reviewer, request_pk=ReviewRequest.objects.get(status="in_review").pk,
        answers={"license": {"verdict": "acceptable", "text": "MIT"}},
    ),
    "withdraw": lambda w: withdraw(actor=w.submitter, request_pk=ReviewRequest.objects.get(status="in_review").pk),
    "create token": lambda w: create_token(actor=w.viewer, name="mine", scopes=["read"], days=1),
    "revoke token": lambda w: revoke_token(actor=w.admin, token_pk=ApiToken.objects.get().pk),
}  # fmt: skip


def state() -> dict[str, list[Any]]:
    """Everything that an act of the list could have changed."""
    tables = (Approval, ApiToken, Channel, ChannelMove, ReviewRequest, Answer, Vote, Job, AuditEvent)
    return {table.__name__: list(table._default_manager.order_by("pk").values()) for table in tables}


@pytest.mark.parametrize("act", list(ACTS))
def test_act_is_undone_when_its_audit_event_cannot_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    make_approval(world, make_revision(world.team))
    make_review(world, make_revision(world.team, "b" * 40))
    create_token(actor=world.admin, name="there", scopes=["read"], days=1)
    before = state()

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(audit, "_append", fail)
        with pytest.raises(OSError, match="the disk is full"), transaction.atomic():
            ACTS[act](world)
    assert state() == before
    ACTS[act](world)  # and the same act, with an audit log, is done
    assert state() != before


@pytest.mark.django_db(transaction=True)
def test_events_of_many_writers_make_one_chain() -> None:
    world = make_world()
    people = [make_member(world.team, Role.VIEWER) for _ in range(8)]
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        try:
            barrier.wait(30)
            for _ in range(5):
                create_token(actor=people[number], name="one of many", scopes=["read"], days=1)
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert audit.verify() == audit.Verification(True, 40, bytes(AuditEvent.objects.latest("seq").hash).hex())
