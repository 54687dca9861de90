"""Threads: who may comment, who settles what, whom a mention reaches, and that a word once read stays."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from registry.enums import Role
from registry.exceptions import Conflict, DomainError, InvalidInput, NotAllowed
from reviews.models import Mention, ReviewComment, ReviewRequest
from reviews.queries import mentions_of
from reviews.services.commenting import add_comment, settle_thread, threads_of
from reviews.services.deciding import request_changes
from tests.factories import SHA_B, Api, World, make_review, make_revision
from tests.reviews.test_four_eyes import refused


@pytest.fixture
def review(world: World) -> ReviewRequest:
    return make_review(world, make_revision(world.team))


def say(world: World, review: ReviewRequest, text: str = "Why?", **fields: object) -> ReviewComment:
    return add_comment(actor=world.reviewer, request_pk=review.pk, text=text, **fields)  # type: ignore[arg-type]


# role: comments | asks for a change | settles a comment | settles a change (the submitter is the request's own)
TABLE = """
viewer           |     |     |     |
submitter        | yes |     | yes |
reviewer         | yes | yes | yes | yes
security_auditor | yes |     | yes | yes
legal_reviewer   | yes |     | yes | yes
release_manager  | yes |     | yes |
admin            | yes |     | yes |
auditor          |     |     |     |
"""
ROWS = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]


def test_table_names_every_role() -> None:
    assert {row[0] for row in ROWS} == set(Role.values)


@pytest.mark.parametrize(("role", "expected"), [(row[0], row[1:]) for row in ROWS])
def test_who_may_do_what_in_a_thread(
    world: World, review: ReviewRequest, role: str, expected: list[str]
) -> None:
    actor, pk = world.by_role(role), review.pk
    plain, change = say(world, review, key="license"), say(world, review, key="license", change=True)
    acts: list[Callable[[], object]] = [
        lambda: add_comment(actor=actor, request_pk=pk, text="Because."),
        lambda: add_comment(actor=actor, request_pk=pk, text="Change it.", key="license", change=True),
        lambda: settle_thread(actor=actor, request_pk=pk, thread_pk=plain.pk, resolved=True),
        lambda: settle_thread(actor=actor, request_pk=pk, thread_pk=change.pk, resolved=True),
    ]
    for act, allowed in zip(acts, expected, strict=True):
        if allowed:
            act()
        else:
            with pytest.raises(NotAllowed):
                act()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"text": "  "}, "no_words"),
        ({"text": "x" * 4001}, "too_long"),
        ({"key": "colour"}, "unknown_item"),
        ({"thread_pk": 999}, "unknown_thread"),
    ],
)
def test_bad_comment_is_refused(
    world: World, review: ReviewRequest, fields: dict[str, object], code: str
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        say(world, review, **fields)  # type: ignore[arg-type]
    assert refusal.value.code == code and not ReviewComment.objects.exists()


def test_thread_of_another_review_is_unknown(world: World, review: ReviewRequest) -> None:
    other = make_review(world, make_revision(world.team, SHA_B))
    with pytest.raises(InvalidInput, match="no such thread"):
        say(world, review, thread_pk=say(world, other).pk)


def test_thread_is_resolved_and_reopened_by_rows(world: World, review: ReviewRequest) -> None:
    first = say(world, review, key="license")
    for resolved in (True, False, True):
        settle_thread(actor=world.submitter, request_pk=review.pk, thread_pk=first.pk, resolved=resolved)
        assert threads_of(review)[0].is_open is not resolved
        with pytest.raises(Conflict, match="already"):
            settle_thread(actor=world.submitter, request_pk=review.pk, thread_pk=first.pk, resolved=resolved)
    assert len(threads_of(review)[0].replies) == 3


def test_comment_is_neither_changed_nor_deleted(world: World, review: ReviewRequest) -> None:
    comment = say(world, review, "Ask @submitter.")
    with refused("A comment is append-only"):
        ReviewComment.objects.filter(pk=comment.pk).update(text="I never said that.")
    with refused("A mention is append-only"):
        Mention.objects.all().delete()


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("@submitter, is this yours?", ["submitter"]),
        ("Ask @submitter.", ["submitter"]),
        ("@submitter and @admin", ["admin", "submitter"]),
        ("write to me@submitter.example", []),
        ("@reviewer (myself)", []),
        ("@stranger of another team", []),
        ("@nobody", []),
    ],
)
def test_mention_reaches_members_of_the_team(
    world: World, review: ReviewRequest, text: str, reached: list[str]
) -> None:
    say(world, review, text, key="license")
    people = [world.submitter, world.admin, world.reviewer, world.other]
    assert sorted(p.user.username for p in people if mentions_of(p)) == reached


def test_mention_waits_until_it_is_answered_or_resolved(world: World, review: ReviewRequest) -> None:
    first, second = say(world, review, "@submitter one"), say(world, review, "@submitter two", key="license")
    client = Client()
    client.force_login(world.submitter.user)
    home = client.get(reverse("home")).content.decode()
    assert home.count("asks you about") == 2 and f"/reviews/{review.pk}/#item-license" in home
    add_comment(actor=world.submitter, request_pk=review.pk, text="Yes.", thread_pk=first.pk)
    settle_thread(actor=world.reviewer, request_pk=review.pk, thread_pk=second.pk, resolved=True)
    assert mentions_of(world.submitter) == []


def test_changes_go_back_item_by_item(world: World, review: ReviewRequest) -> None:
    say(world, review, "Name the file.", key="license", change=True)
    back = request_changes(
        actor=world.reviewer, request_pk=review.pk, changes={"dataset": "Name the data set."}
    )
    assert back.problem == "Changes asked for: License, Training dataset."
    threads = [thread for thread in threads_of(review) if thread.is_change]
    assert [(t.first.key, t.first.text) for t in threads] == [
        ("license", "Name the file."),
        ("dataset", "Name the data set."),
    ]
    add_comment(
        actor=world.submitter, request_pk=review.pk, text="It is named now.", thread_pk=threads[0].first.pk
    )
    with pytest.raises(NotAllowed, match="so a reviewer settles it"):
        settle_thread(
            actor=world.submitter, request_pk=review.pk, thread_pk=threads[0].first.pk, resolved=True
        )


def test_request_for_changes_needs_a_reason_or_a_list(world: World, review: ReviewRequest) -> None:
    with pytest.raises(DomainError, match="Say why"):
        request_changes(actor=world.reviewer, request_pk=review.pk)


def test_review_that_is_over_takes_no_comments(world: World) -> None:
    review = make_review(world, make_revision(world.team), status="withdrawn")
    with pytest.raises(Conflict, match="The review is over"):
        say(world, review)


def test_api_tells_threads(world: World, review: ReviewRequest) -> None:
    api = Api.of(world.reviewer)
    made = api.post(f"/reviews/{review.pk}/comments", {"text": "Why?", "key": "license"})
    assert made.status == 201
    settled = api.post(f"/reviews/{review.pk}/comments", {"thread": made.data["id"], "settle": "resolve"})
    assert (settled.status, settled.data["kind"]) == (201, "resolved")
    assert [row["kind"] for row in api.get(f"/reviews/{review.pk}/comments").data["results"]] == [
        "comment",
        "resolved",
    ]
