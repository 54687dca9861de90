"""Answering and deciding: what it takes to approve, and that many hands at once end in one decision."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from django.db import connection

from registry import audit
from registry.enums import EvidenceKind, JobKind, Role
from registry.exceptions import Conflict, DomainError, InvalidInput, NotAllowed
from registry.models import Approval, AuditEvent, Revision
from reviews import checklists, permissions
from reviews.enums import ReviewStatus
from reviews.models import Answer, ReviewRequest, Vote
from reviews.policies.gate import policies_digest
from reviews.services.answering import save_answers
from reviews.services.deciding import content_sha256, decide, request_changes
from reviews.services.recording import save_record
from reviews.services.submissions import supersede_older, withdraw
from tests.factories import (
    SHA_B,
    World,
    an_answer,
    answer_all,
    make_evidence,
    make_job,
    make_member,
    make_review,
    make_revision,
    make_world,
)

ITEMS = {item["key"]: item for item in checklists.shipped().items}
REQUIRED = [key for key, item in ITEMS.items() if "low" in item["required"]]


def ready(world: World, environment: str = "production", **fields: Any) -> ReviewRequest:
    revision = make_revision(world.team, **fields)
    for kind in EvidenceKind:
        make_evidence(world.submitter, revision, kind)
    return make_review(world, revision, environment=environment, answered=True)


def test_approval_pins_everything_that_was_decided_on(world: World) -> None:
    review = ready(world)
    save_record(actor=world.reviewer, request_pk=review.pk, record={"conditions": "Not for medical texts."})
    digest = content_sha256(ReviewRequest.objects.get(pk=review.pk))
    first = decide(actor=world.reviewer, request_pk=review.pk, decision="approved", seen_sha256=digest)
    assert (first.status, first.decision) == (ReviewStatus.IN_REVIEW, "") and not Approval.objects.exists()
    decided = decide(
        actor=world.security_auditor, request_pk=review.pk, decision="approved", seen_sha256=digest
    )
    approval = Approval.objects.get()
    revision = review.revision
    assert revision and decided.status == ReviewStatus.APPROVED and decided.approval == approval
    assert (
        decided.decision == "approved_with_conditions" and decided.decision_by == world.security_auditor.user
    )
    assert approval.manifest_sha256 == revision.manifest_sha256
    assert {approval.content_sha256, digest} == set(Vote.objects.values_list("content_sha256", flat=True)) | {
        digest
    }
    assert (approval.environment, approval.use_case, approval.data_class) == (
        "production",
        review.use_case,
        "internal",
    )
    assert approval.conditions == "Not for medical texts." and len(approval.evidence_ids) == 2
    assert approval.policy_version == policies_digest(world.team.pk)
    assert (approval.expires_at - approval.approved_at).days == 180
    assert audit.verify().ok


def test_rejection_needs_a_reason_and_makes_no_approval(world: World) -> None:
    review = make_review(
        world, make_revision(world.team)
    )  # not even answered: that is no reason to keep it open
    with pytest.raises(InvalidInput) as refusal:
        decide(actor=world.reviewer, request_pk=review.pk, decision="rejected")
    assert refusal.value.code == "reason_missing"
    decide(actor=world.reviewer, request_pk=review.pk, decision="rejected", reason="The labels are swapped.")
    review.refresh_from_db()
    assert (review.status, review.decision_reason) == ("rejected", "The labels are swapped.")
    assert not Approval.objects.exists()


@pytest.mark.parametrize("key", REQUIRED)
def test_every_item_must_be_answered_before_an_approval(world: World, key: str) -> None:
    review = make_review(world, make_revision(world.team))
    for other in REQUIRED:
        if other != key:
            save_answers(
                actor=world.reviewer,
                request_pk=review.pk,
                answers={other: an_answer(ITEMS[other])},
            )
    with pytest.raises(Conflict) as refusal:
        decide(actor=world.reviewer, request_pk=review.pk, decision="approved")
    title = ITEMS[key]["title"]
    assert refusal.value.code == "not_ready" and refusal.value.details["missing"] == [
        f"“{title}” is not answered."
    ]


@pytest.mark.parametrize("verdict", ["concern", "not_stated"])
def test_doubt_needs_conditions(world: World, verdict: str) -> None:
    review = ready(world, "staging")
    answers = {"license": {"verdict": verdict, "text": "No licence file."}}
    save_answers(actor=world.reviewer, request_pk=review.pk, answers=answers)
    with pytest.raises(
        Conflict, match="Write the conditions under which it may be used: License left doubts"
    ):
        decide(actor=world.reviewer, request_pk=review.pk, decision="approved", conditions="  ")
    decide(actor=world.reviewer, request_pk=review.pk, decision="approved", conditions="Internal use only.")


@pytest.mark.parametrize("missing", list(EvidenceKind))
def test_production_needs_benchmark_and_evaluation(world: World, missing: EvidenceKind) -> None:
    revision = make_revision(world.team)
    for kind in set(EvidenceKind) - {missing}:
        make_evidence(world.submitter, revision, kind)
    review = make_review(world, revision, environment="production", answered=True)
    word = {"benchmark": "a benchmark", "evaluation": "a golden-set evaluation"}[missing]
    with pytest.raises(Conflict, match=f"Production needs {word} of this revision"):
        decide(actor=world.reviewer, request_pk=review.pk, decision="approved")


def test_evidence_of_another_revision_does_not_count(world: World) -> None:
    for kind in EvidenceKind:
        make_evidence(world.submitter, make_revision(world.team, SHA_B) if kind == "benchmark" else
                      Revision.objects.get(commit_sha=SHA_B), kind)  # fmt: skip
    review = make_review(world, make_revision(world.team), environment="production", answered=True)
    with pytest.raises(Conflict, match="Production needs"):
        decide(actor=world.reviewer, request_pk=review.pk, decision="approved")


def test_running_measurement_is_waited_for(world: World) -> None:
    review = ready(world)
    make_job(
        world.submitter,
        JobKind.EVALUATION,
        subject=f"revision:{review.revision_id}:evaluation:1",
        state="running",
    )
    with pytest.raises(Conflict, match="still running"):
        decide(actor=world.reviewer, request_pk=review.pk, decision="approved")


def test_unaudited_code_cannot_be_approved(world: World) -> None:
    review = ready(world, remote_code=True)
    with pytest.raises(Conflict, match="has not been audited yet; a security auditor judges the code"):
        decide(actor=world.reviewer, request_pk=review.pk, decision="approved")


@pytest.mark.parametrize("role", sorted(set(Role.values) - {"reviewer"}))
@pytest.mark.parametrize("decision", ["approved", "rejected"])
def test_only_reviewers_decide_what_is_of_low_risk(world: World, role: str, decision: str) -> None:
    review = ready(world, "staging")
    person = make_member(world.team, Role(role))  # somebody else than the submitter, also for that role
    with pytest.raises(NotAllowed) as refusal:
        decide(actor=person, request_pk=review.pk, decision=decision, reason="Because I can")
    assert refusal.value.code == "role_missing" and "reviewer" in refusal.value.message


@pytest.mark.parametrize("status", sorted(set(ReviewStatus.values) - {"in_review", "approved", "rejected"}))
def test_decision_outside_the_review_is_refused(world: World, status: str) -> None:
    review = make_review(world, make_revision(world.team), status=status)
    for decision in ("approved", "rejected"):
        with pytest.raises(Conflict) as refusal:
            decide(
                actor=world.reviewer, request_pk=review.pk, decision=decision, reason="Too late or too early"
            )
        assert refusal.value.code == "wrong_state"
    with pytest.raises(Conflict):
        save_answers(
            actor=world.reviewer,
            request_pk=review.pk,
            answers={"license": an_answer(ITEMS["license"])},
        )


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        ({"colour": {"verdict": "acceptable", "text": "Blue."}}, "invalid_input"),
        ({"license": {"verdict": "fine", "text": ""}}, "bad_verdict"),
        ({"license": {"verdict": "concern", "text": "  "}}, "concern_without_words"),
        ({"license": {"verdict": "acceptable", "text": "x" * 4001}}, "too_long"),
        (
            {"license": {"verdict": "acceptable", "text": "MIT"}, "dataset": {"verdict": "?", "text": ""}},
            "bad_verdict",
        ),
    ],
)
def test_bad_answers_are_refused_whole(world: World, answers: dict[str, dict[str, str]], code: str) -> None:
    review = make_review(world, make_revision(world.team))
    with pytest.raises(InvalidInput) as refusal:
        save_answers(actor=world.reviewer, request_pk=review.pk, answers=answers)
    assert refusal.value.code == code and refusal.value.details["field"] in answers
    assert not Answer.objects.exists() and not AuditEvent.objects.exists()


def test_answer_can_be_changed_and_each_change_gives_another_digest(world: World) -> None:
    review = make_review(world, make_revision(world.team))
    digests = [content_sha256(review)]
    for text in ("first", "second"):
        save_answers(
            actor=world.reviewer,
            request_pk=review.pk,
            answers={"license": {"verdict": "acceptable", "text": text}},
        )
        digests.append(content_sha256(ReviewRequest.objects.get(pk=review.pk)))
    assert len(set(digests)) == 3 and Answer.objects.count() == 1


def test_sending_back_keeps_the_votes_of_the_round_out_of_the_next(world: World) -> None:
    review = make_review(world, make_revision(world.team))
    back = request_changes(actor=world.reviewer, request_pk=review.pk, reason="Please pin the data set.")
    assert (back.status, back.problem) == ("changes_requested", "Please pin the data set.")
    with pytest.raises(NotAllowed, match="Only the person who submitted"):
        withdraw(actor=world.reviewer, request_pk=review.pk)
    withdraw(actor=world.submitter, request_pk=review.pk)


def test_newer_commit_supersedes_the_open_review_of_the_older(world: World) -> None:
    older = make_review(world, make_revision(world.team))
    elsewhere = make_review(world, older.revision, environment="production")
    newer = make_review(world, make_revision(world.team, SHA_B))
    supersede_older(newer)
    for review in (older, elsewhere, newer):
        review.refresh_from_db()
    assert [r.status for r in (older, elsewhere, newer)] == ["superseded", "in_review", "in_review"]
    assert AuditEvent.objects.get().verb == "review.superseded"


def test_button_shows_the_sentence_that_the_service_says(world: World) -> None:
    review = make_review(world, make_revision(world.team))
    both = make_member(world.team, Role.REVIEWER, Role.SUBMITTER)
    mine = make_review(world, make_revision(world.team, SHA_B), submitted_by=both.user)
    for actor, request in ((world.viewer, review), (both, mine)):
        sentence = permissions.reason_against(permissions.check_decide, actor, request)
        with pytest.raises(DomainError) as refusal:
            decide(actor=actor, request_pk=request.pk, decision="rejected", reason="It is not good.")
        assert sentence == refusal.value.message


# --- many hands at once ------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_twenty_decisions_at_once_end_in_one() -> None:
    """Ten approvals and ten rejections, each by another reviewer, all released by one barrier."""
    world = make_world()
    review = make_review(world, make_revision(world.team))
    answer_all(world, review)
    reviewers = [make_member(world.team, Role.REVIEWER) for _ in range(20)]
    barrier, outcomes = threading.Barrier(20), Counter[str]()

    def work(number: int) -> None:
        try:
            barrier.wait(30)
            decide(
                actor=reviewers[number],
                request_pk=review.pk,
                decision="approved" if number % 2 else "rejected",
                reason="I was here first.",
            )
            outcomes["decided"] += 1
        except DomainError as refusal:
            outcomes[refusal.code] += 1
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    review.refresh_from_db()
    assert outcomes == {"decided": 1, "wrong_state": 19}
    assert review.status in ("approved", "rejected")
    vote = Vote.objects.get()
    assert (vote.reviewer_id, vote.decision) == (review.decision_by_id, review.decision)
    assert Approval.objects.count() == (1 if review.status == "approved" else 0)
    assert AuditEvent.objects.filter(verb__in=["review.approved", "review.rejected"]).count() == 1
    assert audit.verify().ok
