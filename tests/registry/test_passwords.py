"""Changing one's own password: the current one is asked for, not without end, and every other session ends."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError
from django.http import HttpResponse
from django.test import Client

from registry import attempts
from registry.attempts import PASSWORD_OF_USER
from registry.models import AccessEvent, AuditEvent, FailedAttempts, User
from tests.factories import PASSWORD, Api, World, make_token

NEW = "a-garden-of-8-plums"
MOST = PASSWORD_OF_USER.failures


@pytest.fixture
def person(world: World) -> User:
    return world.viewer.user


@pytest.fixture
def session(person: User) -> Client:
    return signed_in(person)


def signed_in(person: User) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(person, backend="django.contrib.auth.backends.ModelBackend")
    return client


def change(client: Client, current: str = PASSWORD, new: str = NEW, again: str = "") -> HttpResponse:
    body = {"current": current, "new_password1": new, "new_password2": again or new}
    answer = client.post("/password/", body)
    assert isinstance(answer, HttpResponse)
    return answer


def test_password_is_changed_the_own_session_stays_and_all_others_end(session: Client, person: User) -> None:
    elsewhere, token = signed_in(person), Api(make_token(person_actor(person)))
    assert change(session).status_code == 302
    person.refresh_from_db()
    assert person.check_password(NEW)
    assert session.get("/tokens/").status_code == 200
    assert [elsewhere.get(path).status_code for path in ("/tokens/", "/api/v1/me")] == [302, 401]
    assert token.get("/me").status == 200
    event = AuditEvent.objects.get(verb="user.password_changed")
    assert event.actor_id == person.pk and NEW not in event.body and PASSWORD not in event.body


def person_actor(person: User) -> Any:
    from registry.actors import actor_for
    from registry.models import Team

    return actor_for(person, Team.objects.get(slug="acme"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"current": "wrong"}, "That is not your current password"),
        ({"current": ""}, "This field is required"),
        ({"again": "something-else-1"}, "password fields didn’t match"),
        ({"new": "short1"}, "This password is too short"),
        ({"new": "password1234"}, "This password is too common"),
        ({"new": "viewer1234"}, "too similar to the username"),
    ],
)
def test_wrong_wish_changes_nothing_and_says_why(
    session: Client, person: User, changed: dict[str, str], words: str
) -> None:
    answer = change(session, **changed)
    assert answer.status_code == 422 and words in answer.content.decode()
    person.refresh_from_db()
    assert person.check_password(PASSWORD)
    assert PASSWORD not in answer.content.decode()


def test_current_password_can_be_wrong_ten_times_and_then_even_the_right_one_waits(
    session: Client, person: User
) -> None:
    found = [change(session, "wrong").status_code for _ in range(MOST + 1)]
    assert found == [422] * (MOST - 1) + [429] * 2
    answer = change(session)
    assert answer.status_code == 429 and 0 < int(answer.headers["Retry-After"]) <= 300
    assert "was wrong too often" in answer.content.decode()
    person.refresh_from_db()
    assert person.check_password(PASSWORD)
    assert AccessEvent.objects.filter(verb="session.password_refused", actor_id=person.pk).count() == 1
    for row in FailedAttempts.objects.all():
        FailedAttempts.objects.filter(pk=row.pk).update(since=row.since - timedelta(minutes=5, seconds=1))
    assert change(session).status_code == 302


def test_right_password_forgives_and_one_person_does_not_count_for_another(
    session: Client, person: User, world: World
) -> None:
    for _ in range(MOST - 1):
        change(session, "wrong")
    assert change(session, again="something-else-1").status_code == 422  # the current one was right
    for _ in range(MOST - 1):
        assert change(session, "wrong").status_code == 422
    assert change(signed_in(world.auditor.user), "wrong").status_code == 422


def test_counter_that_cannot_be_written_compares_nothing(
    session: Client, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed, unlike the counters of tokens: a password can be guessed."""

    def away(*args: Any) -> int:
        raise DatabaseError("away")

    monkeypatch.setattr(attempts, "note", away)
    assert change(session).status_code == 500
    person.refresh_from_db()
    assert person.check_password(PASSWORD)


def test_account_without_a_password_is_told_so(person: User) -> None:
    person.set_unusable_password()
    person.save()
    answer = signed_in(person).get("/password/")
    assert answer.status_code == 403 and "there is none to change here" in answer.content.decode()


def test_administration_has_no_second_page_that_could_be_guessed_at(world: World) -> None:
    User.objects.filter(pk=world.admin.user.pk).update(is_staff=True)
    client = signed_in(world.admin.user)
    for answer in (client.get("/admin/password_change/"), client.post("/admin/password_change/", {})):
        assert answer.status_code == 302 and answer.headers["Location"] == "/password/"


def test_page_is_in_the_menu_and_keeps_nothing_typed(session: Client) -> None:
    assert 'href="/password/"' in session.get("/tokens/").content.decode()
    page = session.get("/password/").content.decode()
    for name, complete in (("current", "current-password"), ("new_password1", "new-password")):
        field = page.split(f'name="{name}"')[1].split(">")[0]
        assert f'autocomplete="{complete}"' in field


# --- another person's, in the administration ---------------------------------------------------------------------------


@pytest.fixture
def staff(world: World) -> Client:
    world.admin.user.is_staff = world.admin.user.is_superuser = True
    world.admin.user.save()
    return signed_in(world.admin.user)


def set_for(staff: Client, person: User, again: str = NEW) -> int:
    body = {"usable_password": "true", "password1": NEW, "password2": again, "set-password": "1"}
    return staff.post(f"/admin/registry/user/{person.pk}/password/", body).status_code


def test_password_set_for_somebody_is_in_the_log_with_who_did_it(
    staff: Client, person: User, world: World
) -> None:
    assert set_for(staff, person) == 302
    person.refresh_from_db()
    assert person.check_password(NEW)
    (event,) = AuditEvent.objects.filter(verb="user.changed")
    assert (event.actor_id, event.object_id) == (world.admin.user.pk, person.pk)
    assert '"fields":["password"]' in event.body and NEW not in event.body


def test_password_is_not_set_when_the_log_cannot_be_written(
    staff: Client, person: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**_: Any) -> None:
        raise DatabaseError("the disk is full")

    monkeypatch.setattr("registry.admin.audit.record", broken)
    assert set_for(staff, person) == 500
    person.refresh_from_db()
    assert person.check_password(PASSWORD)


def test_password_that_was_not_set_leaves_no_event(staff: Client, person: User) -> None:
    assert set_for(staff, person, again="something else") == 200
    assert not AuditEvent.objects.filter(verb="user.changed").exists()
