"""`GET /models/{org}/{name}/approved`: what every consumer asks first. Answers, reasons, and a constant cost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from registry.models import Approval
from registry.services.approvals import change_approval
from registry.services.channels import move_channel, roll_back_channel
from reviews.enums import ReviewStatus
from tests.factories import (
    MODEL_ID,
    SHA_A,
    SHA_B,
    SHA_C,
    Api,
    World,
    audit_code,
    make_approval,
    make_review,
    make_revision,
)
from tests.house.rules import without_rules

Clients = Callable[..., Api]
PATH = f"/models/{MODEL_ID}/approved"


def release(world: World, approval: Approval, channel: str = "production") -> None:
    move_channel(
        actor=world.release_manager,
        model=approval.model,
        name=channel,
        approval=approval,
        reason="It passed the review",
    )


def test_answer_is_everything_an_engineer_needs(world: World, api: Clients) -> None:
    revision = make_revision(world.team)
    approval = make_approval(world, revision, conditions="Not for medical texts.", evidence_ids=[7, 9])
    release(world, approval)
    answer = api(world.viewer).get(PATH)
    assert answer.status == 200
    data = answer.data
    assert data["model_id"] == MODEL_ID and data["commit_sha"] == SHA_A and data["channel"] == "production"
    assert data["manifest_sha256"] == revision.manifest_sha256
    assert data["label_mapping"] == {"0": "negative", "1": "neutral", "2": "positive"}
    assert data["snippet"] == (
        f'AutoModelForSequenceClassification.from_pretrained("{MODEL_ID}", revision="{SHA_A}")'
    )
    assert (data["task"], data["license"], data["trust_remote_code"]) == (
        "text-classification",
        "apache-2.0",
        False,
    )
    record = data["approval"]
    assert (record["submitted_by"], record["approved_by"]) == ("submitter", "reviewer")
    assert (
        record["status"] == "active"
        and record["environment"] == "production"
        and record["evidence"] == [7, 9]
    )
    assert record["conditions"] == "Not for medical texts."
    assert record["approved_at"] == approval.approved_at.isoformat()
    assert answer.headers["Cache-Control"] == "no-store"


def test_snippet_can_be_pasted(world: World, api: Clients) -> None:
    import ast

    make_approval(world, make_revision(world.team))
    call = ast.parse(api(world.viewer).get(PATH).data["snippet"], mode="eval").body
    assert isinstance(call, ast.Call) and {k.arg for k in call.keywords} == {"revision"}


@pytest.mark.parametrize("query", ["", "?channel=production", f"?commit_sha={SHA_A}"])
def test_all_three_questions_give_the_same_record(world: World, api: Clients, query: str) -> None:
    approval = make_approval(world, make_revision(world.team))
    release(world, approval)
    data = api(world.viewer).get(PATH + query).data
    assert data["approval"]["id"] == approval.pk and data["commit_sha"] == SHA_A


def test_question_without_a_channel_means_production_else_the_only_one(world: World, api: Clients) -> None:
    only = make_approval(world, make_revision(world.team))
    client = api(world.viewer)
    assert client.get(PATH).data["approval"]["id"] == only.pk and client.get(PATH).data["channel"] is None
    make_approval(world, make_revision(world.team, SHA_B))
    ambiguous = client.get(PATH)
    assert (
        ambiguous.status == 409
        and ambiguous.code == "ambiguous"
        and "?channel=" in ambiguous.error["message"]
    )
    release(world, only)
    assert client.get(PATH).data["approval"]["id"] == only.pk


def test_answer_follows_move_and_rollback_at_once(world: World, api: Clients) -> None:
    first = make_approval(world, make_revision(world.team))
    second = make_approval(world, make_revision(world.team, SHA_B))
    client = api(world.viewer)
    release(world, first)
    release(world, second)
    assert client.get(PATH).data["commit_sha"] == SHA_B
    channel = first.model.channels.get()
    roll_back_channel(actor=world.admin, channel=channel, reason="It answers nonsense")
    assert client.get(PATH).data["commit_sha"] == SHA_A


def test_deprecated_is_still_given_and_says_so(world: World, api: Clients) -> None:
    approval = make_approval(world, make_revision(world.team))
    release(world, approval)
    change_approval(actor=world.admin, approval=approval, action="deprecate", reason="A newer one exists.")
    assert api(world.viewer).get(PATH).data["approval"]["status"] == "deprecated"


def test_model_with_code_says_that_it_needs_trust_remote_code(world: World, api: Clients) -> None:
    revision = audit_code(world, make_revision(world.team, remote_code=True))
    make_approval(world, revision)
    data = api(world.viewer).get(PATH).data
    assert data["trust_remote_code"] is True
    assert data["code_audit"] == {
        "allowed": True, "verdict": "passed", "digest": revision.remote_code_sha256,
        "url": f"http://127.0.0.1:8000/revisions/{revision.pk}/code/",
    }  # fmt: skip


# --- the reasons -------------------------------------------------------------------------------------------------------


def unknown(world: World) -> None:
    pass


def submitted(world: World) -> None:
    make_review(world, status=ReviewStatus.SUBMITTED)


def in_review(world: World) -> None:
    make_review(world, make_revision(world.team))


def suspended(world: World) -> None:
    release(world, make_approval(world, make_revision(world.team)))
    change_approval(
        actor=world.admin, approval=Approval.objects.get(), action="suspend", reason="A finding came in."
    )


def revoked(world: World) -> None:
    suspended(world)
    change_approval(
        actor=world.admin, approval=Approval.objects.get(), action="revoke", reason="It is malicious."
    )


def overdue(world: World) -> None:
    """Past its date, and the sweep that says so has not run yet: consumers must not wait for it."""
    release(world, make_approval(world, make_revision(world.team)))
    with without_rules(connection):
        Approval.objects.update(expires_at=timezone.now() - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("situation", "query", "code", "words"),
    [
        (unknown, "", "model_unknown", "was never submitted by your team. Submit it for review at http"),
        (
            submitted,
            "",
            "not_approved",
            "has no approved revision: its review is not decided, or was refused",
        ),
        (
            in_review,
            "",
            "not_approved",
            "has no approved revision: its review is not decided, or was refused",
        ),
        (
            in_review,
            f"?commit_sha={SHA_A}",
            "not_approved",
            "may not be used: nobody has approved it yet: it is in review. See http",
        ),
        (in_review, f"?commit_sha={SHA_C}", "revision_unknown", f"has no revision {SHA_C[:12]} in Assay"),
        (
            in_review,
            "?channel=production",
            "channel_unknown",
            "has no channel 'production'. Nothing is live yet.",
        ),
        (
            suspended,
            "",
            "not_approved",
            "production of acme/sentiment-vi-en points at an approval that is suspended",
        ),
        (suspended, "?channel=staging", "channel_unknown", "It has: production."),
        (suspended, "?channel=production", "not_approved", "points at an approval that is suspended"),
        (suspended, f"?commit_sha={SHA_A}", "not_approved", "its approval is suspended"),
        (revoked, "?channel=production", "not_approved", "points at an approval that is revoked"),
        (revoked, f"?commit_sha={SHA_A}", "not_approved", "its approval is revoked"),
        (overdue, "", "not_approved", "points at an approval that is expired"),
        (overdue, "?channel=production", "not_approved", "expired"),
        (overdue, f"?commit_sha={SHA_A}", "not_approved", "expired"),
    ],
)
def test_refusal_says_why(
    world: World, api: Clients, situation: Callable[[World], None], query: str, code: str, words: str
) -> None:
    situation(world)
    answer = api(world.viewer).get(PATH + query)
    assert (answer.status, answer.code) == (404, code)
    assert words in answer.error["message"]


def test_other_teams_approval_is_unknown(world: World, api: Clients) -> None:
    release(world, make_approval(world, make_revision(world.team)))
    for query in ("", "?channel=production", f"?commit_sha={SHA_A}"):
        answer = api(world.other).get(PATH + query)
        assert (answer.status, answer.code) == (404, "model_unknown")


@pytest.mark.parametrize("query", ["?chanel=production", "?channel=production&revision=main", "?x"])
def test_misspelt_parameter_is_refused_not_ignored(world: World, api: Clients, query: str) -> None:
    make_approval(world, make_revision(world.team))
    answer = api(world.viewer).get(PATH + query)
    assert answer.status == 422 and answer.code == "bad_parameter"


# --- the cost ----------------------------------------------------------------------------------------------------------


def queries_of(client: Api, path: str) -> int:
    client.get(path)  # the first use of a token is written down
    with CaptureQueriesContext(connection) as queries:
        assert client.get(path).status == 200
    return len(queries)


@pytest.mark.parametrize("query", ["", "?channel=production", f"?commit_sha={'1' * 40}"])
def test_cost_is_two_queries_whatever_the_number_of_revisions(world: World, api: Clients, query: str) -> None:
    """The token with its owner's roles, and the approval with all it shows."""
    approval = make_approval(world, make_revision(world.team, "1" * 40))
    release(world, approval)
    client = api(world.viewer)
    assert queries_of(client, PATH + query) == 2
    for number in range(2, 8):
        other: Any = make_approval(world, make_revision(world.team, str(number) * 40, files={}))
        release(world, other, f"channel-{number}")
    assert queries_of(client, PATH + query) == 2
