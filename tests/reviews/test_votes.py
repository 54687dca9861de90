"""Votes: how many and whose, when they go stale, who may not cast them, and what the database itself refuses."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from registry import audit
from registry.enums import EvidenceKind, Role
from registry.exceptions import Conflict, DomainError, InvalidInput, NotAllowed
from registry.models import Approval, AuditEvent, Membership
from reviews import votes
from reviews.models import ReviewRequest, Vote
from reviews.queries import waiting_for
from reviews.services.answering import save_answers
from reviews.services.deciding import decide
from reviews.services.recording import save_record
from reviews.votes import missing_votes, tally
from tests.factories import (
    Api,
    World,
    answer_all,
    make_approval,
    make_evidence,
    make_member,
    make_review,
    make_revision,
    make_world,
)

COPYLEFT = {"licence": {"declared": [{"id": "gpl-3.0", "spdx": "GPL-3.0-only", "category": "Copyleft"}]}}


@contextmanager
def refused(sentence: str) -> Iterator[None]:
    with pytest.raises(DatabaseError, match=sentence), transaction.atomic():
        yield


def ready(world: World, data_class: str = "internal", **fields: Any) -> ReviewRequest:
    """In review for production with everything but the votes."""
    revision = make_revision(world.team, **fields)
    for kind in EvidenceKind:
        make_evidence(world.submitter, revision, kind)
    return make_review(world, revision, environment="production", data_class=data_class, answered=True)


def vote(actor: Any, review: ReviewRequest, decision: str = "approved", **more: Any) -> ReviewRequest:
    reason = "" if decision == "approved" else "The licence is unclear."
    return decide(actor=actor, request_pk=review.pk, decision=decision, reason=reason, **more)


# --- whose votes -------------------------------------------------------------------------------------------------------

R, S, L = Role.REVIEWER, Role.SECURITY_AUDITOR, Role.LEGAL

# tier, legal asked, the roles of each voter in order: how many of the seats are filled
SEATING: list[tuple[str, bool, list[list[Role]], str]] = [
    ("low", False, [], "0 of 1 vote"),
    ("low", False, [[R]], "1 of 1 vote"),
    ("medium", False, [[R]], "1 of 2 votes"),
    ("medium", False, [[R], [R]], "2 of 2 votes"),
    ("medium", False, [[R], [S]], "2 of 2 votes"),
    ("medium", False, [[S], [R]], "2 of 2 votes"),
    ("medium", False, [[S], [S]], "1 of 2 votes"),  # nobody reviewed
    (
        "medium",
        False,
        [[R, S], [S]],
        "2 of 2 votes",
    ),  # the first one moves to the seat that the second cannot take
    ("medium", False, [[S, R], [R, S]], "2 of 2 votes"),
    ("high", False, [[R], [S]], "1 of 2 votes"),
    ("high", False, [[R], [R]], "2 of 2 votes"),
    ("high", False, [[R], [R], [R]], "2 of 2 votes"),
    ("low", True, [[R]], "1 of 2 votes"),
    ("low", True, [[R], [L]], "2 of 2 votes"),
    ("low", True, [[R, L]], "1 of 2 votes"),  # one person, one seat
    ("low", True, [[R, L], [R]], "2 of 2 votes"),
    ("high", True, [[R], [R]], "2 of 3 votes"),
    ("high", True, [[R], [L], [R]], "3 of 3 votes"),
]
DATA = {"low": "public", "medium": "internal", "high": "personal"}


@pytest.mark.parametrize(("tier", "legal", "voters", "words"), SEATING)
def test_seats(world: World, tier: str, legal: bool, voters: list[list[Role]], words: str) -> None:
    review = ready(world, DATA[tier], facts=COPYLEFT if legal else {})
    assert (review.tier, review.legal_asked) == (tier, legal)
    for roles in voters:
        person = make_member(world.team, *roles)
        if review.status == "in_review":
            Vote.objects.create(
                request=review, round=1, reviewer=person.user, decision="approved", roles=[str(r) for r in roles],
                content_sha256=review.content_sha256, at=timezone.now(),
            )  # fmt: skip
    assert tally(review).words == words
    assert tally(review).is_met == (not missing_votes(review))


@pytest.mark.parametrize(
    ("declared", "asks"),
    [
        ([{"id": "apache-2.0", "category": "Permissive"}], False),
        ([{"id": "cc0-1.0", "category": "Public Domain"}], False),
        ([{"id": "gpl-3.0", "category": "Copyleft"}], True),
        ([{"id": "cc-by-nc-4.0", "category": "Source-available"}], True),
        ([{"id": "other", "category": "Needs review"}], True),
        ([{"id": "mit", "category": "Permissive"}, {"id": "llama3", "category": "Proprietary Free"}], True),
        ([], True),
    ],
)
def test_licence_category_decides_whether_legal_votes(world: World, declared: Any, asks: bool) -> None:
    revision = make_revision(world.team, facts={"licence": {"declared": declared}})
    assert bool(votes.legal_reason(revision)) == asks
    assert make_review(world, revision).votes_needed == (2 if asks else 1)


def test_who_lost_the_role_fills_no_seat_any_more(world: World) -> None:
    review = ready(world)
    vote(world.reviewer, review)
    Membership.objects.filter(user=world.reviewer.user).delete()
    assert tally(review).words == "0 of 2 votes"
    vote(world.security_auditor, review)
    review.refresh_from_db()
    assert review.status == "in_review"


def test_role_that_is_not_asked_for_cannot_vote(world: World) -> None:
    review = ready(world)
    with pytest.raises(
        NotAllowed, match="asks for the vote of a reviewer and a reviewer or security auditor"
    ):
        vote(world.legal_reviewer, review)
    with pytest.raises(NotAllowed, match="To decide a review you need the role"):
        vote(world.release_manager, review)


# --- quorum, rejection, legal ------------------------------------------------------------------------------------------


def test_deciding_vote_closes_and_earlier_ones_do_not(world: World) -> None:
    review = ready(world)
    first = vote(world.reviewer, review)
    assert (first.status, first.decision, Approval.objects.count()) == ("in_review", "", 0)
    assert missing_votes(first) == ["1 of 2 votes: still needed, a reviewer or security auditor."]
    with pytest.raises(Conflict, match="You have voted on exactly this already"):
        vote(world.reviewer, review)
    last = vote(world.security_auditor, review)
    assert (last.status, last.decision, last.decision_by) == (
        "approved",
        "approved",
        world.security_auditor.user,
    )
    verbs = (
        AuditEvent.objects.exclude(verb="approval.attested").order_by("seq").values_list("verb", flat=True)
    )
    assert list(verbs) == ["review.voted", "approval.granted", "review.approved"]


@pytest.mark.parametrize("rejecter", ["reviewer", "security_auditor"])
def test_one_rejection_ends_it_whatever_was_voted_before(world: World, rejecter: str) -> None:
    review = ready(world)
    vote({"reviewer": world.security_auditor, "security_auditor": world.reviewer}[rejecter], review)
    done = vote(world.by_role(rejecter), review, "rejected")
    assert (done.status, Approval.objects.count()) == ("rejected", 0)


def test_needs_legal_review_asks_for_a_legal_vote_and_the_others_vote_again(world: World) -> None:
    review = ready(world)
    vote(world.security_auditor, review)
    asked = vote(world.reviewer, review, "needs_legal_review")
    assert (asked.status, asked.legal_asked, asked.legal_reason) == (
        "in_review",
        True,
        "The licence is unclear.",
    )
    assert tally(asked).words == "0 of 3 votes"
    with pytest.raises(Conflict, match="asked already"):
        vote(make_member(world.team, Role.REVIEWER), review, "needs_legal_review")
    vote(world.legal_reviewer, review)
    vote(world.reviewer, review)
    assert vote(world.security_auditor, review).status == "approved"


def test_legal_can_refuse(world: World) -> None:
    assert vote(world.legal_reviewer, ready(world, facts=COPYLEFT), "rejected").status == "rejected"


def test_approved_with_conditions_needs_them(world: World) -> None:
    review = ready(world, "public")
    with pytest.raises(InvalidInput, match="Write the conditions"):
        vote(world.reviewer, review, "approved_with_conditions")
    done = vote(world.reviewer, review, "approved_with_conditions", conditions="Not for medical texts.")
    assert (done.decision, done.approval and done.approval.conditions) == (
        "approved_with_conditions", "Not for medical texts.",
    )  # fmt: skip


# --- stale votes -------------------------------------------------------------------------------------------------------

EDITS: dict[str, Callable[[World, ReviewRequest], Any]] = {
    "an answer": lambda w, r: save_answers(
        actor=w.reviewer,
        request_pk=r.pk,
        answers={"license": {"verdict": "acceptable", "text": "Read again."}},
    ),
    "the record": lambda w, r: save_record(
        actor=w.reviewer, request_pk=r.pk, record={"fallback": "People sort by hand, two of them."}
    ),
    "evidence": lambda w, r: make_evidence(w.submitter, r.revision, EvidenceKind.BENCHMARK),  # type: ignore[arg-type]
    "the last voter's conditions": lambda w, r: None,
}


@pytest.mark.parametrize("edit", list(EDITS))
def test_any_edit_makes_the_votes_stale(world: World, edit: str) -> None:
    review = ready(world)
    vote(world.reviewer, review)
    EDITS[edit](world, review)
    conditions = "Only short texts." if edit == "the last voter's conditions" else ""
    after = vote(world.security_auditor, review, conditions=conditions)
    assert (after.status, tally(after).words) == ("in_review", "1 of 2 votes"), edit
    assert [v.reviewer for v in tally(after).stale] == [world.reviewer.user]
    assert "so they must look again: reviewer." in missing_votes(after)[1]
    old = after.votes.get(reviewer=world.reviewer.user)
    assert votes.status_of(old, after) == "stale: something changed since, reviewer must look again"
    assert vote(world.reviewer, review).status == "approved"


def test_same_words_saved_again_change_nothing(world: World) -> None:
    review = ready(world)
    save_record(actor=world.reviewer, request_pk=review.pk, record={"fallback": "By hand."})
    vote(world.reviewer, review)
    save_record(actor=world.reviewer, request_pk=review.pk, record={"fallback": " By hand. "})
    assert vote(world.security_auditor, review).status == "approved"


def test_review_waits_for_those_whose_vote_is_missing(world: World) -> None:
    review = ready(world)
    everybody = (world.reviewer, world.security_auditor, world.legal_reviewer, world.submitter)
    assert [list(waiting_for(who)) == [review] for who in everybody] == [True, True, False, False]
    vote(world.reviewer, review)
    assert [list(waiting_for(who)) == [review] for who in everybody] == [False, True, False, False]
    EDITS["the record"](world, review)
    assert [list(waiting_for(who)) == [review] for who in everybody] == [True, True, False, False]


# --- who cannot cast the approving vote --------------------------------------------------------------------------------


def test_last_editor_cannot_approve_and_can_reject(world: World) -> None:
    review = ready(world)
    editor = make_member(world.team, Role.SUBMITTER, Role.REVIEWER)
    ReviewRequest.objects.filter(pk=review.pk).update(edited_by=editor.user)
    with pytest.raises(NotAllowed, match="You were the last to edit this submission") as refusal:
        vote(editor, review)
    assert refusal.value.code == "four_eyes"
    assert vote(editor, review, "rejected").status == "rejected"


def test_last_editors_approving_vote_is_refused_by_the_database(world: World) -> None:
    review = ready(world)
    editor = make_member(world.team, Role.REVIEWER)
    ReviewRequest.objects.filter(pk=review.pk).update(edited_by=editor.user)
    for decision in ("approved", "approved_with_conditions"):
        with refused("Who last edited a submission cannot approve it"):
            raw_vote(review, editor, decision=decision)


def raw_vote(review: ReviewRequest, actor: Any, **fields: Any) -> Vote:
    review.refresh_from_db()
    shape = {
        "round": review.round, "decision": "approved", "content_sha256": review.content_sha256, "at": timezone.now(),
    }  # fmt: skip
    return Vote.objects.create(request=review, reviewer=actor.user, **(shape | fields))


def test_stale_vote_is_refused_by_the_database(world: World) -> None:
    review = ready(world)
    with refused("A vote is cast on what is under review now"):
        raw_vote(review, world.reviewer, content_sha256="0" * 64)


def raw_close(review: ReviewRequest, actor: Any) -> None:
    approval = make_approval_row(review, actor)
    ReviewRequest.objects.filter(pk=review.pk).update(
        status="approved",
        decision="approved",
        decision_at=timezone.now(),
        decision_by=actor.user,
        approval=approval,
    )


def make_approval_row(review: ReviewRequest, actor: Any) -> Approval:
    review.refresh_from_db()
    revision, now = review.revision, timezone.now()
    assert revision
    return Approval.objects.create(
        model=review.model, revision=revision, environment=review.environment, use_case="x", data_class="internal",
        manifest_sha256=revision.manifest_sha256, content_sha256=review.content_sha256, policy_version="1",
        submitted_by=review.submitted_by, approved_by=actor.user, approved_at=now, expires_at=now, status_at=now,
    )  # fmt: skip


def test_approval_row_without_enough_fresh_votes_is_refused_by_the_database(world: World) -> None:
    sentence = "An approval is written by a review in progress that has the votes it needs"
    review = ready(world)
    with refused(sentence):
        raw_close(review, world.reviewer)
    raw_vote(review, world.reviewer)
    with refused(sentence):
        raw_close(review, world.reviewer)
    raw_vote(review, world.security_auditor)
    ReviewRequest.objects.filter(pk=review.pk).update(content_sha256="f" * 64)  # both are stale now
    with refused(sentence):
        raw_close(review, world.security_auditor)
    third = make_member(world.team, Role.REVIEWER)
    raw_vote(review, world.security_auditor)
    raw_vote(review, world.reviewer)
    with refused(sentence):
        raw_close(review, third)  # the one who signs has not voted
    raw_close(review, world.reviewer)
    assert ReviewRequest.objects.get().status == "approved"


def test_votes_needed_cannot_be_lowered_in_review_nor_below_the_tier(world: World) -> None:
    review = ready(world)
    with refused("A review needs the votes of the widest use that its record allows"):
        ReviewRequest.objects.filter(pk=review.pk).update(votes_needed=1, tier="low")
    with refused("review_votes_needed_by_tier"):
        make_review(
            world, make_revision(world.team, "c" * 40), content_sha256="0" * 64, tier="high", votes_needed=1
        )


def test_quorum_in_another_environment_does_not_count(world: World) -> None:
    revision = make_revision(world.team)
    make_approval(world, revision, environment="staging")
    review = make_review(world, revision, environment="production")
    with refused("that has the votes it needs"):
        raw_close(review, world.reviewer)


# --- the API -----------------------------------------------------------------------------------------------------------


def test_api_says_how_far_the_votes_are(world: World, api: Callable[..., Api]) -> None:
    review = ready(world)
    path = f"/reviews/{review.pk}"
    client = api(world.reviewer)
    seen = client.get(path).data
    assert seen["votes_summary"] == {
        "tier": "medium", "needed": 2, "given": 0, "stale": [], "legal_asked": False, "legal_reason": "",
        "tier_reason": "Internal data in production; text-classification answers from a closed set.",
        "seats": [{"needs": "a reviewer", "reviewer": None}, {"needs": "a reviewer or security auditor", "reviewer": None}],
    }  # fmt: skip
    body = {"decision": "approved", "content_sha256": seen["content_sha256"]}
    voted = client.post(f"{path}/decision", body).data
    assert (voted["status"], voted["votes_summary"]["given"]) == ("in_review", 1)
    assert voted["votes_summary"]["seats"][0] == {"needs": "a reviewer", "reviewer": "reviewer"}
    changed = client.put(f"{path}/record", {"fallback": "By hand."}).data
    assert changed["votes_summary"]["stale"] == ["reviewer"]
    assert client.post(f"{path}/decision", body).code == "changed_since_seen"


# --- many hands at once ------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_fifty_votes_at_once_end_in_one_decision() -> None:
    """25 approve (two are needed), 25 reject: whatever comes first, one decision, and no vote after it."""
    world = make_world()
    review = make_review(world, make_revision(world.team), data_class="confidential")
    answer_all(world, review)
    people = [make_member(world.team, Role.REVIEWER, Role.SECURITY_AUDITOR) for _ in range(50)]
    barrier, outcomes = threading.Barrier(50), Counter[str]()

    def work(number: int) -> None:
        try:
            barrier.wait(60)
            vote(people[number], review, "approved" if number % 2 else "rejected")
            outcomes["voted"] += 1
        except DomainError as refusal:
            outcomes[refusal.code] += 1
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    review.refresh_from_db()
    cast = list(Vote.objects.order_by("pk").values_list("decision", flat=True))
    assert review.status in ("approved", "rejected")
    assert outcomes == {"voted": len(cast), "wrong_state": 50 - len(cast)} and 1 <= len(cast) <= 2
    assert cast == (["approved", "approved"] if review.status == "approved" else [*cast[:-1], "rejected"])
    assert Approval.objects.count() == (review.status == "approved")
    assert AuditEvent.objects.filter(verb__in=["review.approved", "review.rejected"]).count() == 1
    assert audit.verify().ok
