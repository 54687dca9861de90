"""A decision record that allows more than was asked for: at every door it needs the votes of what it allows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import DatabaseError, connection, transaction
from django.test import Client
from django.utils import timezone

from registry.enums import EvidenceKind, Role
from registry.exceptions import Conflict
from registry.models import Approval, AuditEvent
from registry.services.approvals import grant_approval
from reviews import machines, permissions, records
from reviews.models import ReviewRequest, Vote
from reviews.policies.facts import Subject, facts_of
from reviews.queries import waiting_for
from reviews.services.checks import enter_review
from reviews.services.deciding import decide
from reviews.services.recording import save_record
from reviews.votes import seats_of, tally
from tests.factories import Api, World, make_evidence, make_member, make_review, make_revision
from tests.house.rules import without_rules

Raw = Callable[..., int]
WIDE: dict[str, Any] = {
    "allowed_environments": ["staging", "production"],
    "data_classes": ["public", "personal"],
}
NARROW: dict[str, Any] = {"allowed_environments": ["staging"], "data_classes": ["public", "internal"]}


@pytest.fixture
def review(world: World) -> ReviewRequest:
    """Staging with internal data: low risk, one vote; with everything there that production asks for, too."""
    revision = make_revision(world.team)
    for kind in EvidenceKind:
        make_evidence(world.submitter, revision, kind)
    found = make_review(world, revision, answered=True)
    assert (found.tier, found.votes_needed) == ("low", 1)
    return found


def close_by_hand(review: ReviewRequest, actor: Any, **terms: Any) -> None:
    """What the deciding service writes, from a shell: the vote, the approval, the decision."""
    review.refresh_from_db()
    revision, now = review.revision, timezone.now()
    assert revision
    Vote.objects.get_or_create(
        request=review, round=review.round, reviewer=actor.user, content_sha256=review.content_sha256,
        defaults={"decision": "approved", "roles": ["reviewer"], "at": now},
    )  # fmt: skip
    approval = Approval.objects.create(
        model=review.model, revision=revision, environment=review.environment, use_case="x", data_class=review.data_class,
        manifest_sha256=revision.manifest_sha256, content_sha256=review.content_sha256, policy_version="1",
        submitted_by=review.submitted_by, approved_by=actor.user, approved_at=now, expires_at=now + timedelta(days=1),
        status_at=now, **terms,
    )  # fmt: skip
    ReviewRequest.objects.filter(pk=review.pk).update(
        status="approved", decision="approved", decision_at=now, decision_by=actor.user, approval=approval
    )


# --- every door --------------------------------------------------------------------------------------------------------

Door = Callable[[World, ReviewRequest, Raw], Any]


def by_service(world: World, review: ReviewRequest, raw: Raw) -> None:
    save_record(actor=world.reviewer, request_pk=review.pk, record=WIDE)
    decide(actor=world.reviewer, request_pk=review.pk, decision="approved")


def with_the_vote_itself(world: World, review: ReviewRequest, raw: Raw) -> None:
    decide(actor=world.reviewer, request_pk=review.pk, decision="approved", record=WIDE)


def by_page(world: World, review: ReviewRequest, raw: Raw) -> None:
    client = Client()
    client.force_login(world.reviewer.user)
    form = {
        **WIDE,
        "use_cases": "mood: Sort by mood",
        "owner": "The desk",
        "fallback": "By hand.",
        "data_policy": "None.",
    }
    days = {"expires_at": str(review.expires_at)[:10], "monitoring": "accuracy >= 0.9"}
    assert client.post(f"/reviews/{review.pk}/record/", {**form, **days}).status_code == 302
    page = client.get(f"/reviews/{review.pk}/").content.decode()
    assert "The record also allows production with personal data." in page
    assert "What it allows is high risk now: 0 of 2 votes given." in page
    assert client.post(f"/reviews/{review.pk}/decide/", {"decision": "approved"}).status_code == 302


def by_api(world: World, review: ReviewRequest, raw: Raw) -> None:
    api = Api.of(world.reviewer)
    seen = api.put(f"/reviews/{review.pk}/record", WIDE).data
    votes = seen["votes_summary"]
    assert (votes["tier"], votes["needed"]) == ("high", 2)
    assert votes["tier_reason"].endswith("The record also allows production with personal data.")
    body = {"decision": "approved", "content_sha256": seen["content_sha256"]}
    assert api.post(f"/reviews/{review.pk}/decision", body).data["status"] == "in_review"


def by_shell_on_the_row(world: World, review: ReviewRequest, raw: Raw) -> None:
    review.allowed_environments = WIDE["allowed_environments"]
    with pytest.raises(DatabaseError, match="the votes of the widest use"), transaction.atomic():
        review.save()


def by_sql_on_the_row(world: World, review: ReviewRequest, raw: Raw) -> None:
    for change in (
        """allowed_environments = '["production"]'""",
        """data_classes = '["personal"]'""",
        """data_classes = '["of a kind that nobody knows"]'""",
        """data_classes = '["person\\u0061l"]'""",  # another spelling of the same JSON
        """data_classes = '["personal"]', votes_needed = 1, tier = 'low'""",
        "votes_needed = 0",
    ):
        with pytest.raises(DatabaseError), transaction.atomic():
            raw(f"UPDATE reviews_reviewrequest SET {change} WHERE id = %s", review.pk)
    for column, value in (("environment", "development"), ("data_class", "public")):
        with pytest.raises(DatabaseError, match="is asked once"), transaction.atomic():
            raw(f"UPDATE reviews_reviewrequest SET {column} = %s WHERE id = %s", value, review.pk)


def by_shell_after_widening(world: World, review: ReviewRequest, raw: Raw) -> None:
    save_record(actor=world.reviewer, request_pk=review.pk, record=WIDE)
    with pytest.raises(DatabaseError, match="has the votes it needs"), transaction.atomic():
        close_by_hand(review, world.reviewer, **WIDE)


def on_a_row_that_was_forged_before(world: World, review: ReviewRequest, raw: Raw) -> None:
    """The row was widened while the rules were away, with its number of votes as it was: its own content counts."""
    with without_rules(connection):
        ReviewRequest.objects.filter(pk=review.pk).update(**WIDE)
    with pytest.raises(DatabaseError, match="has the votes it needs"), transaction.atomic():
        close_by_hand(review, world.reviewer, **WIDE)


def with_an_approval_that_says_more(world: World, review: ReviewRequest, raw: Raw) -> None:
    for wider in ({"allowed_environments": ["staging", "production"]}, {"data_classes": ["personal"]}):
        with pytest.raises(DatabaseError, match="decided on, and no others"), transaction.atomic():
            close_by_hand(review, world.reviewer, **wider)


def with_the_registrys_own_service(world: World, review: ReviewRequest, raw: Raw) -> None:
    assert review.revision and review.expires_at
    Vote.objects.create(
        request=review, round=1, reviewer=world.reviewer.user, decision="approved", at=timezone.now(), roles=["reviewer"],
        content_sha256=review.content_sha256,
    )  # fmt: skip
    with pytest.raises(Conflict), transaction.atomic():
        grant_approval(
            actor=world.reviewer, revision=review.revision, submitted_by=review.submitted_by, environment="staging",
            use_case="x", data_class="internal", conditions="", content_sha256=review.content_sha256, evidence_ids=[],
            policy_version="1", policies=[], waivers=[], expires_at=review.expires_at, terms=WIDE,
        )  # fmt: skip


def by_the_admin(world: World, review: ReviewRequest, raw: Raw) -> None:
    """The admin has no reviews, votes or approvals: there is no door."""
    shown = {model._meta.label for model in admin.site._registry}
    assert not {"reviews.ReviewRequest", "reviews.Vote", "registry.Approval"} & shown


DOORS: list[Door] = [
    by_service, with_the_vote_itself, by_page, by_api, by_shell_on_the_row, by_sql_on_the_row, by_shell_after_widening,
    on_a_row_that_was_forged_before, with_an_approval_that_says_more, with_the_registrys_own_service, by_the_admin,
]  # fmt: skip


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_one_vote_does_not_approve_what_needs_two(
    world: World, review: ReviewRequest, raw: Raw, door: Door
) -> None:
    door(world, review, raw)
    review.refresh_from_db()
    assert (review.status, Approval.objects.count()) == ("in_review", 0)


def test_two_votes_approve_it_and_as_asked_for_one_does(world: World, review: ReviewRequest) -> None:
    save_record(actor=world.reviewer, request_pk=review.pk, record=WIDE)
    decide(actor=world.reviewer, request_pk=review.pk, decision="approved")
    done = decide(actor=make_member(world.team, Role.REVIEWER), request_pk=review.pk, decision="approved")
    assert done.approval and done.approval.allowed_environments == WIDE["allowed_environments"]
    other = make_review(world, make_revision(world.team, "b" * 40), answered=True)
    assert decide(actor=world.reviewer, request_pk=other.pk, decision="approved").approval


def test_record_made_narrow_again_needs_one_vote_again(world: World, review: ReviewRequest) -> None:
    save_record(actor=world.reviewer, request_pk=review.pk, record=WIDE)
    review = save_record(actor=world.reviewer, request_pk=review.pk, record=NARROW)
    assert (review.tier, review.votes_needed, tally(review).words) == ("low", 1, "0 of 1 vote")
    assert decide(actor=world.reviewer, request_pk=review.pk, decision="approved").status == "approved"


def test_vote_given_for_the_narrow_record_is_stale_for_the_wide_one(
    world: World, review: ReviewRequest
) -> None:
    save_record(actor=world.reviewer, request_pk=review.pk, record={"allowed_environments": ["production"]})
    decide(actor=world.reviewer, request_pk=review.pk, decision="approved")
    # the second voter makes it wider with the own vote: a security auditor has no seat in what it became
    with pytest.raises(Exception, match="asks for the vote of a reviewer") as refusal:
        decide(actor=world.security_auditor, request_pk=review.pk, decision="approved", record=WIDE)
    assert refusal.value.code == "role_missing"  # type: ignore[attr-defined]
    after = decide(
        actor=make_member(world.team, Role.REVIEWER), request_pk=review.pk, decision="approved", record=WIDE
    )
    assert (after.status, tally(after).words) == ("in_review", "1 of 2 votes")


# --- everything else that follows the tier -----------------------------------------------------------------------------

FOLLOWS = [
    # the record; the tier, votes needed, days that the approval lasts
    (NARROW, "low", 1, 365),
    ({"allowed_environments": ["production"]}, "medium", 2, 180),
    ({"data_classes": ["confidential"]}, "medium", 2, 180),
    (WIDE, "high", 2, 90),
    ({"allowed_environments": ["production"], "data_classes": ["confidential"]}, "high", 2, 90),
]


@pytest.mark.parametrize(("record", "tier", "needed", "days"), FOLLOWS)
def test_whatever_grows_with_risk_follows_the_record(
    world: World, review: ReviewRequest, record: dict[str, Any], tier: str, needed: int, days: int
) -> None:
    save_record(actor=world.reviewer, request_pk=review.pk, record=record)
    review.refresh_from_db()
    assert (review.risk.tier, review.tier, review.votes_needed, len(seats_of(review))) == (
        tier,
        tier,
        needed,
        needed,
    )
    assert review.expires_at and review.review_by
    assert (
        (review.expires_at.date() - timezone.now().date()).days
        == days
        == records.VALID_DAYS[review.risk.tier]
    )
    assert (review.expires_at.date() - review.review_by).days == records.REVIEW_BEFORE
    assert (review in waiting_for(world.security_auditor)) == (tier == "medium")
    assert review.revision
    facts = facts_of(Subject(review.revision, review))
    required = [item for item in review.checklist if tier in item.get("required", [tier])]
    assert (facts["request.tier"], facts["review.items"]) == (tier, len(required))
    assert facts["request.environment"] == record.get("allowed_environments", ["staging"])[-1]
    assert facts["request.data_class"] == record.get("data_classes", ["internal"])[-1]
    assert facts["review.open_items"] == 0
    missing = permissions.missing_for_approval(review, [], [], 0)
    assert [m for m in missing if m.endswith("is not answered.")] == [
        f"“{i['title']}” is not answered." for i in required
    ]


def test_required_items_grow_with_the_record(review: ReviewRequest) -> None:
    """The shipped template asks for more at a higher tier; otherwise the table above would compare a number with itself."""
    counts = {
        tier: sum(tier in item.get("required", [tier]) for item in review.checklist)
        for tier in ("low", "medium", "high")
    }
    assert counts["low"] < counts["medium"] <= counts["high"] == len(review.checklist), counts


def test_dates_that_are_written_with_the_wider_record_stay(world: World, review: ReviewRequest) -> None:
    day = timezone.now().date() + timedelta(days=200)
    saved = save_record(
        actor=world.reviewer,
        request_pk=review.pk,
        record={**WIDE, "expires_at": str(day), "review_by": str(day)},
    )
    assert saved.expires_at and (saved.expires_at.date(), saved.review_by) == (day, day)


def test_next_round_of_a_commit_that_answers_freely_is_shorter(world: World, review: ReviewRequest) -> None:
    """The record of the earlier round is kept; a higher tier of the new commit is followed all the same."""
    free = make_revision(world.team, "b" * 40)
    with without_rules(connection):
        type(free).objects.filter(pk=free.pk).update(pipeline_tag="text-generation")
        ReviewRequest.objects.filter(pk=review.pk).update(status="checks_running", round=2)
    with transaction.atomic():
        enter_review(machines.lock(review.pk), type(free).objects.get(pk=free.pk))
    review.refresh_from_db()
    assert (review.status, review.tier, review.votes_needed) == ("in_review", "medium", 2)
    assert review.expires_at and (review.expires_at.date() - timezone.now().date()).days == 180


def test_event_says_what_the_wider_record_asks_for(world: World, review: ReviewRequest) -> None:
    save_record(actor=world.reviewer, request_pk=review.pk, record=WIDE)
    body = AuditEvent.objects.filter(verb="review.record_changed").latest("seq").body
    assert '"tier":"high"' in body and '"votes_needed":2' in body
    assert "allowed environments, data classes, expires at, review by" in body


def test_legal_stays_asked(world: World, review: ReviewRequest, raw: Raw) -> None:
    decide(
        actor=world.reviewer, request_pk=review.pk, decision="needs_legal_review", reason="An odd licence."
    )
    with pytest.raises(DatabaseError, match="stays asked"), transaction.atomic():
        raw("UPDATE reviews_reviewrequest SET legal_asked = FALSE, votes_needed = 1 WHERE id = %s", review.pk)
