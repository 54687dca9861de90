"""Sign-ins that fail too often, with real requests."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from registry.models import AccessEvent, User
from registry.sign_in import client_address
from tests.factories import make_user

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
PASSWORD = "correct-horse-9"


@pytest.fixture
def person(db: None) -> User:
    user = make_user("petra")
    user.set_password(PASSWORD)
    user.save()
    return user


def knock(name: str, password: str = "wrong", address: str = HERE, **more: Any) -> HttpResponse:
    answer = Client().post("/login/", {"username": name, "password": password}, REMOTE_ADDR=address, **more)
    assert isinstance(answer, HttpResponse)
    return answer


@pytest.mark.parametrize("names", [["petra"], ["nobody"], [f"name{n}" for n in range(10)]])
def test_ten_failures_close_the_door_for_known_and_unknown_names(person: User, names: list[str]) -> None:
    found = [knock(names[n % len(names)]).status_code for n in range(10)]
    assert found == [200] * 9 + [429]
    known, unknown = knock("petra", PASSWORD), knock("nobody")
    assert known.status_code == unknown.status_code == 429
    assert known.content == unknown.content and b"Too many sign-ins failed" in known.content
    assert known.headers["Retry-After"] == unknown.headers["Retry-After"] == "300"
    assert AccessEvent.objects.filter(verb="session.locked_out").exists()


def test_another_address_is_not_affected_and_a_lock_ends(person: User) -> None:
    for _ in range(10):
        knock("petra")
    assert knock("petra", PASSWORD, ELSEWHERE).status_code == 302
    assert knock("petra", PASSWORD).status_code == 429
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=5, seconds=1))
    assert knock("petra", PASSWORD).status_code == 302


def test_success_forgives_the_own_failures_only(person: User) -> None:
    for _ in range(9):
        knock("petra")
    assert knock("petra", PASSWORD).status_code == 302
    assert [knock("nobody").status_code for _ in range(9)] == [200] * 9
    assert (
        knock("petra", PASSWORD).status_code == 302
    )  # an account of one's own is no way to try others' names
    assert knock("nobody").status_code == 429


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        (HERE, "", HERE),
        (HERE, "198.51.100.9", HERE),
        ("10.0.0.5", "198.51.100.9", "198.51.100.9"),
        ("10.0.0.5", "203.0.113.7, 198.51.100.9", "198.51.100.9"),
        ("10.0.0.5", "198.51.100.9, 10.0.0.6", "198.51.100.9"),
        ("10.0.0.5", "", "10.0.0.5"),
        ("10.0.0.5", "rubbish", "0.0.0.0"),
        ("", "198.51.100.9", "0.0.0.0"),
    ],
)
def test_only_a_trusted_proxy_speaks_for_a_client(
    settings: Any, peer: str, forwarded: str, found: str
) -> None:
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/24")]
    request = RequestFactory().get("/", REMOTE_ADDR=peer, headers={"X-Forwarded-For": forwarded})
    assert client_address(request) == found
