"""The terms of an approval, enforced where consumers ask: the whole matrix, and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from registry.exceptions import Conflict
from registry.models import AccessEvent, Approval, Channel, ChannelMove
from registry.services.channels import move_channel
from tests.factories import Api, World, make_approval, make_revision

WRITTEN: dict[str, list[Any]] = {
    "allowed_environments": ["staging", "production"],
    "use_cases": [{"slug": "review-triage", "text": "Sort reviews"}, {"slug": "mail", "text": "Sort mail"}],
    "data_classes": ["public", "internal"],
}
NARROW: dict[str, list[Any]] = {"allowed_environments": [], "use_cases": [], "data_classes": []}

# terms, what is asked, the code of the refusal ("" is allowed)
MATRIX: list[tuple[dict[str, list[Any]], str, str]] = [
    (WRITTEN, "", ""),
    (WRITTEN, "environment=production", ""),
    (WRITTEN, "environment=staging", ""),
    (WRITTEN, "environment=development", "not_for_environment"),
    (WRITTEN, "environment=the-moon", "not_for_environment"),
    (WRITTEN, "use_case=review-triage", ""),
    (WRITTEN, "use_case=mail", ""),
    (WRITTEN, "use_case=Review-Triage", "not_for_use_case"),
    (WRITTEN, "use_case=credit-scoring", "not_for_use_case"),
    (WRITTEN, "data_class=internal", ""),
    (WRITTEN, "data_class=personal", "not_for_data_class"),
    (WRITTEN, "environment=production&use_case=mail&data_class=public", ""),
    (WRITTEN, "environment=production&use_case=mail&data_class=confidential", "not_for_data_class"),
    (WRITTEN, "environment=development&use_case=spam", "not_for_environment"),
    (NARROW, "environment=production", ""),  # what was asked for, and nothing else
    (NARROW, "environment=staging", "not_for_environment"),
    (NARROW, "use_case=mail", "not_for_use_case"),
    (NARROW, "data_class=internal", ""),
    (NARROW, "data_class=public", "not_for_data_class"),
]


def live(world: World, **fields: Any) -> Approval:
    approval = make_approval(world, make_revision(world.team), **fields)
    move_channel(
        actor=world.release_manager,
        model=approval.model,
        name="production",
        approval=approval,
        reason="First release",
    )
    return approval


@pytest.mark.parametrize("by", ["channel", "commit"])
@pytest.mark.parametrize(("terms", "asked", "code"), MATRIX)
def test_stated_use_is_answered_as_the_terms_say(
    world: World, api: Callable[..., Api], terms: dict[str, Any], asked: str, code: str, by: str
) -> None:
    approval = live(world, **terms)
    commit = f"&commit_sha={approval.revision.commit_sha}" if by == "commit" else ""
    answer = api(world.viewer).get(
        f"/models/{approval.model.model_id}/approved?{asked}{commit}".replace("?&", "?")
    )
    assert answer.status == (403 if code else 200)
    if code:
        assert answer.code == code and "Its approval allows:" in answer.error["message"]
        assert AccessEvent.objects.latest("seq").verb == "access.denied"
    else:
        assert answer.data["commit_sha"] == approval.revision.commit_sha
        assert answer.data["approval"]["use_cases"] == terms["use_cases"]


def test_commit_approved_twice_is_answered_by_the_approval_that_covers_the_use(
    world: World, api: Callable[..., Api]
) -> None:
    revision = make_revision(world.team)
    first = make_approval(world, revision, environment="production")
    second = make_approval(world, revision, environment="staging")
    for environment, approval in (("production", first), ("staging", second)):
        path = f"/models/{revision.model.model_id}/approved?commit_sha={revision.commit_sha}&environment={environment}"
        assert api(world.viewer).get(path).data["approval"]["id"] == approval.pk


def test_stated_use_costs_no_query_more(world: World, api: Callable[..., Api]) -> None:
    approval = live(world, **WRITTEN)
    client, path = api(world.viewer), f"/models/{approval.model.model_id}/approved"
    client.get(path)  # notes that the token was used
    counts = []
    for asked in ("", "?environment=production&use_case=mail&data_class=public"):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert client.get(path + asked).status == 200
        counts.append(len(queries))
    assert counts == [2, 2]


def test_lock_carries_the_terms(world: World, api: Callable[..., Api]) -> None:
    approval = live(world, conditions="Not for medical texts.", **WRITTEN)
    entry = api(world.viewer).get(f"/lock?model={approval.model.model_id}&format=json")
    text = entry.content.decode()
    assert "review-triage" in text and "Not for medical texts." in text and "allowed_environments" in text


@pytest.mark.parametrize(
    ("environment", "allowed", "goes"),
    [
        ("production", [], True),
        ("production", ["staging"], False),
        ("staging", [], False),
        ("staging", ["staging", "production"], True),
    ],
)
def test_production_takes_only_what_allows_production(
    world: World, environment: str, allowed: list[str], goes: bool
) -> None:
    approval = make_approval(
        world, make_revision(world.team), environment=environment, allowed_environments=allowed
    )
    move = {"actor": world.release_manager, "model": approval.model, "name": "production", "approval": approval,
            "reason": "First release"}  # fmt: skip
    if goes:
        move_channel(**move)  # type: ignore[arg-type]
        return
    with pytest.raises(Conflict, match="was approved for staging only"):
        move_channel(**move)  # type: ignore[arg-type]
    channel = Channel.objects.get_or_create(model=approval.model, name="production")[0]
    with pytest.raises(DatabaseError, match="that allow production only"), transaction.atomic():
        ChannelMove.objects.create(
            channel=channel, number=1, to_approval=approval, reason="by hand", at=approval.approved_at,
            by=world.release_manager.user,
        )  # fmt: skip


@pytest.mark.parametrize(
    "change",
    ["owner = 'x'", "fallback = 'x'", "data_policy = 'x'", "rollback_target = 'x'", "review_by = NULL",
     "allowed_environments = '[\"production\"]'", "use_cases = '[]'", "data_classes = '[]'", "monitoring = '[]'"],
)  # fmt: skip
def test_terms_of_an_approval_never_change(world: World, raw: Callable[..., int], change: str) -> None:
    approval = make_approval(world, make_revision(world.team))
    with pytest.raises(DatabaseError, match="What was approved cannot be changed"), transaction.atomic():
        raw(f"UPDATE registry_approval SET {change} WHERE id = %s", approval.pk)
