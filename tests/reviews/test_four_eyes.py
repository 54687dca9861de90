"""Nobody decides on what they submitted: at the service, at the API, and by raw SQL on the running engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from registry.enums import EvidenceKind, Role
from registry.exceptions import Conflict, NotAllowed
from registry.models import AccessEvent, Approval, AuditEvent
from registry.services.approvals import grant_approval
from reviews.models import Answer, ReviewRequest, Vote
from reviews.services.answering import save_answers
from reviews.services.deciding import decide, request_changes
from tests.factories import (
    Api,
    World,
    answer_all,
    make_approval,
    make_evidence,
    make_member,
    make_review,
    make_revision,
)

Raw = Callable[..., int]
FOUR_EYES = "You submitted this model, so somebody else must approve it."


@contextmanager
def refused(sentence: str | None = None) -> Iterator[None]:
    with pytest.raises(DatabaseError, match=sentence), transaction.atomic():
        yield


def now() -> Any:
    return connection.ops.adapt_datetimefield_value(timezone.now())


@pytest.fixture
def review(world: World) -> ReviewRequest:
    """In review, answered by the reviewer, everything there for an approval."""
    return make_review(world, make_revision(world.team), answered=True)


def vote(review: ReviewRequest, user: Any, decision: str = "approved", **fields: Any) -> Vote:
    review.refresh_from_db()
    shape = {"round": review.round, "content_sha256": review.content_sha256, "at": timezone.now(), **fields}
    return Vote.objects.create(request=review, reviewer=user, decision=decision, **shape)


# --- at the service and at the API -------------------------------------------------------------------------------------


@pytest.mark.parametrize("roles", [[Role.REVIEWER], list(Role)], ids=["reviewer", "every role"])
@pytest.mark.parametrize("decision", ["approved", "rejected"])
def test_submitter_cannot_decide_whatever_their_roles(world: World, roles: list[Role], decision: str) -> None:
    both = (
        make_member(world.team, Role.SUBMITTER, *roles[:1])
        if len(roles) == 1
        else make_member(world.team, *roles)
    )
    review = make_review(world, make_revision(world.team), submitted_by=both.user)
    answer_all(world, review)
    with pytest.raises(NotAllowed, match=FOUR_EYES) as refusal:
        decide(actor=both, request_pk=review.pk, decision=decision, reason="It is my own and good.")
    assert refusal.value.code == "four_eyes"
    assert not Vote.objects.exists() and not Approval.objects.exists()


def test_submitter_cannot_answer_or_send_back(world: World) -> None:
    both = make_member(world.team, *Role)
    review = make_review(world, make_revision(world.team), submitted_by=both.user)
    with pytest.raises(NotAllowed, match="somebody else must answer its checklist"):
        save_answers(
            actor=both, request_pk=review.pk, answers={"license": {"verdict": "acceptable", "text": "MIT"}}
        )
    with pytest.raises(NotAllowed, match=FOUR_EYES):
        request_changes(actor=both, request_pk=review.pk, reason="To gain time")


def test_submitters_attempt_answers_403_with_the_sentence_and_is_kept(
    world: World, api: Callable[..., Api]
) -> None:
    both = make_member(world.team, *Role)
    review = make_review(world, make_revision(world.team), submitted_by=both.user)
    answer = api(both).post(f"/reviews/{review.pk}/decision", {"decision": "approved"})
    assert answer.status == 403
    assert answer.error == {"code": "four_eyes", "message": FOUR_EYES, "details": {}}
    event = AccessEvent.objects.latest("seq")
    assert (event.verb, event.actor_id) == ("access.denied", both.user.pk)
    assert FOUR_EYES in event.body


def test_grant_refuses_the_submitter_even_without_a_review(world: World) -> None:
    both = make_member(world.team, *Role)
    with pytest.raises(NotAllowed, match=FOUR_EYES):
        grant_approval(
            actor=both, revision=make_revision(world.team), submitted_by=both.user, environment="staging",
            use_case="x", data_class="public", conditions="", content_sha256="0" * 64, evidence_ids=[], policy_version="1",
            policies=[], waivers=[],
            expires_at=timezone.now(),
        )  # fmt: skip


# --- by raw SQL --------------------------------------------------------------------------------------------------------


def test_submitters_vote_is_refused(world: World, review: ReviewRequest, raw: Raw) -> None:
    with refused("The submitter of a model cannot vote on it"):
        raw(
            "INSERT INTO reviews_vote (request_id, round, reviewer_id, decision, content_sha256, reason, roles, at) "
            "VALUES (%s, 1, %s, 'approved', %s, '', '[]', %s)",
            review.pk, world.submitter.user.pk, review.content_sha256, now(),
        )  # fmt: skip
    vote(review, world.reviewer.user)


def test_submitters_decision_is_refused(world: World, review: ReviewRequest, raw: Raw) -> None:
    with refused():
        raw(
            "UPDATE reviews_reviewrequest SET status = 'rejected', decision = 'rejected', decision_at = %s, "
            "decision_by_id = submitted_by_id WHERE id = %s",
            now(), review.pk,
        )  # fmt: skip


def test_decision_without_a_vote_is_refused(world: World, review: ReviewRequest, raw: Raw) -> None:
    with refused("A decision needs a vote of its decider in this round"):
        raw(
            "UPDATE reviews_reviewrequest SET status = 'rejected', decision = 'rejected', decision_at = %s, "
            "decision_by_id = %s WHERE id = %s",
            now(), world.reviewer.user.pk, review.pk,
        )  # fmt: skip


def test_vote_of_another_person_round_or_opinion_carries_no_decision(
    world: World, review: ReviewRequest, raw: Raw
) -> None:
    other = make_member(world.team, Role.REVIEWER)
    vote(review, other.user, "rejected")
    vote(review, world.reviewer.user, "approved")
    with refused("A decision needs a vote of its decider in this round"):
        raw(
            "UPDATE reviews_reviewrequest SET status = 'rejected', decision = 'rejected', decision_at = %s, "
            "decision_by_id = %s WHERE id = %s",
            now(), world.reviewer.user.pk, review.pk,
        )  # fmt: skip


def test_request_cannot_be_born_approved_by_its_submitter(world: World) -> None:
    revision = make_revision(world.team)
    with refused():
        make_review(
            world, revision, status="approved", decision="approved", decision_at=timezone.now(),
            decision_by=world.submitter.user, approval=make_approval(world, revision, environment="staging"),
        )  # fmt: skip


def test_submitter_cannot_be_exchanged_to_make_room_for_a_vote(
    world: World, review: ReviewRequest, raw: Raw
) -> None:
    for column, value in (("submitted_by_id", world.viewer.user.pk), ("team_id", world.other.in_team.pk)):
        with refused("Who submitted what cannot be changed"):
            raw(f"UPDATE reviews_reviewrequest SET {column} = %s WHERE id = %s", value, review.pk)


def test_votes_are_append_only_and_one_per_reviewer_and_content(
    world: World, review: ReviewRequest, raw: Raw
) -> None:
    cast = vote(review, world.reviewer.user)
    with refused():
        vote(review, world.reviewer.user, "rejected")
    with refused("A vote is append-only"):
        raw("UPDATE reviews_vote SET decision = 'rejected' WHERE id = %s", cast.pk)
    with refused("A vote is append-only"):
        raw("DELETE FROM reviews_vote WHERE id = %s", cast.pk)


@pytest.mark.parametrize(
    "status", ["draft", "submitted", "checks_running", "changes_requested", "withdrawn", "superseded"]
)
def test_votes_are_cast_in_review_only(world: World, status: str) -> None:
    review = make_review(world, make_revision(world.team), status=status)
    with refused("Votes are cast in the current round of a request that is in review"):
        vote(review, world.reviewer.user)


@pytest.mark.parametrize("round_", [0, 2])
def test_votes_are_cast_in_the_current_round_only(world: World, review: ReviewRequest, round_: int) -> None:
    with refused():
        vote(review, world.reviewer.user, round=round_)


@pytest.mark.parametrize(
    "change",
    [
        "decision = 'approved'",
        "decision_at = submitted_at",
        "decision_by_id = {reviewer}",
        "decision = 'approved', decision_at = submitted_at",
        "decision = 'rejected', decision_at = submitted_at, decision_by_id = {reviewer}",  # still in review
        "status = 'approved'",
        "status = 'rejected'",
    ],
)
def test_decision_is_written_whole_or_not_at_all(
    world: World, review: ReviewRequest, raw: Raw, change: str
) -> None:
    vote(review, world.reviewer.user)
    with refused():
        raw(
            f"UPDATE reviews_reviewrequest SET {change.format(reviewer=world.reviewer.user.pk)} WHERE id = %s",
            review.pk,
        )


def test_approved_request_needs_its_approval(world: World, review: ReviewRequest, raw: Raw) -> None:
    vote(review, world.reviewer.user)
    with refused():
        raw(
            "UPDATE reviews_reviewrequest SET status = 'approved', decision = 'approved', decision_at = %s, "
            "decision_by_id = %s WHERE id = %s",
            now(), world.reviewer.user.pk, review.pk,
        )  # fmt: skip


def test_decided_review_stays_as_it_is(world: World, review: ReviewRequest, raw: Raw) -> None:
    decide(actor=world.reviewer, request_pk=review.pk, decision="rejected", reason="The licence is unclear.")
    for change in (
        "status = 'in_review'",
        "decision_reason = ''",
        "use_case = 'another'",
        "conditions = 'none'",
    ):
        with refused("A decided, withdrawn or superseded review stays as it is"):
            raw(f"UPDATE reviews_reviewrequest SET {change} WHERE id = %s", review.pk)
    with refused("A review is a record"):
        raw("DELETE FROM reviews_reviewrequest WHERE id = %s", review.pk)


def test_answers_change_in_review_only_and_are_never_deleted(
    world: World, review: ReviewRequest, raw: Raw
) -> None:
    answer = Answer.objects.filter(request=review).latest("pk")
    with refused("An answer's version counts its edits"):
        raw("UPDATE reviews_answer SET text = 'more' WHERE id = %s", answer.pk)
    raw("UPDATE reviews_answer SET text = 'more', version = version + 1 WHERE id = %s", answer.pk)
    with refused("An answer is a record"):
        raw("DELETE FROM reviews_answer WHERE id = %s", answer.pk)
    decide(actor=world.reviewer, request_pk=review.pk, decision="rejected", reason="The licence is unclear.")
    with refused("Answers change only while the request is in review"):
        raw("UPDATE reviews_answer SET verdict = 'concern' WHERE id = %s", answer.pk)
    with refused("Answers change only while the request is in review"):
        Answer.objects.create(
            request=review, key="late", verdict="acceptable", by=world.reviewer.user, at=timezone.now()
        )


def test_submitters_answer_is_refused(world: World, review: ReviewRequest) -> None:
    with refused("The submitter of a model cannot answer its checklist"):
        Answer.objects.create(
            request=review, key="x", verdict="acceptable", by=world.submitter.user, at=timezone.now()
        )


def test_request_enters_review_with_a_revision_only(world: World) -> None:
    with refused():
        make_review(world, None, status="in_review")


def test_one_review_per_revision_and_environment(world: World, review: ReviewRequest) -> None:
    assert review.revision
    with refused():
        make_review(world, review.revision)
    make_review(world, review.revision, environment="production")


def test_evidence_is_named_in_the_approval(world: World, review: ReviewRequest) -> None:
    assert review.revision
    evidence = make_evidence(world.submitter, review.revision, EvidenceKind.BENCHMARK)
    decide(actor=world.reviewer, request_pk=review.pk, decision="approved")
    approval = Approval.objects.get()
    assert approval.evidence_ids == [evidence.pk]
    assert (approval.submitted_by, approval.approved_by) == (world.submitter.user, world.reviewer.user)
    assert list(AuditEvent.objects.order_by("seq").values_list("verb", flat=True))[:2] == [
        "approval.granted",
        "review.approved",
    ]


def test_decision_on_what_was_not_seen_is_refused(world: World, review: ReviewRequest) -> None:
    from reviews.services.deciding import content_sha256

    seen = content_sha256(review)
    second = make_member(world.team, Role.REVIEWER)
    save_answers(
        actor=second,
        request_pk=review.pk,
        answers={"license": {"verdict": "concern", "text": "GPL inside", "version": 1}},
    )
    with pytest.raises(Conflict) as refusal:
        decide(
            actor=world.reviewer,
            request_pk=review.pk,
            decision="approved",
            conditions="None.",
            seen_sha256=seen,
        )
    assert refusal.value.code == "changed_since_seen"
