"""Consumers read how the review of a revision without an approval stands."""

from __future__ import annotations

import pytest
from django.db import connection

from registry import consumption
from registry.exceptions import NotFound
from reviews.enums import ReviewStatus
from reviews.models import ReviewRequest
from reviews.refusals import SENTENCES, why_not_approved
from reviews.services.deciding import decide
from tests.factories import MODEL_ID, SHA_A, World, make_review, make_revision
from tests.house.rules import without_rules


def said(world: World) -> str:
    with pytest.raises(NotFound) as refusal:
        consumption.approved(world.viewer, MODEL_ID, commit_sha=SHA_A)
    return refusal.value.message


def test_rejected_revision_says_that_it_was_reviewed_and_why_it_was_rejected(world: World) -> None:
    review = make_review(world, make_revision(world.team))
    decide(
        actor=world.reviewer, request_pk=review.pk, decision="rejected", reason="The labels are swapped.\n"
    )
    assert "may not be used: it was reviewed and rejected: The labels are swapped. See http" in said(world)


def test_revision_that_nobody_asked_about(world: World) -> None:
    make_revision(world.team)
    assert "may not be used: nobody has approved it. See http" in said(world)


@pytest.mark.parametrize("status", sorted(set(SENTENCES) - {ReviewStatus.REJECTED}))
def test_each_state_of_a_request_has_its_sentence(world: World, status: str) -> None:
    revision = make_revision(world.team)
    review = make_review(world, revision)
    with without_rules(connection):
        ReviewRequest.objects.filter(pk=review.pk).update(status=status, decision_reason="")
    assert why_not_approved(revision) == SENTENCES[status]
    assert set(SENTENCES) == set(ReviewStatus.values) - {ReviewStatus.APPROVED}
