"""Bad tokens: counted by address and by the token whose secret is guessed, refused, kept; and good ones never are."""

from __future__ import annotations

import json
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import DatabaseError
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from registry import attempts
from registry.attempts import LIMITS_REACHED, REFUSALS_OF_USER, SECRETS_OF_TOKEN, TOKENS_FROM_ADDRESS, Limit
from registry.enums import Scope
from registry.models import AccessEvent, FailedAttempts
from tests.factories import Api, World, make_token

HERE, ELSEWHERE = "192.0.2.1", "192.0.2.2"
API, HUB = "/api/v1/me", "/hub/api/whoami-v2"
MOST = TOKENS_FROM_ADDRESS.failures
UNKNOWN = "assay_0123456789abcdef_" + "a" * 43


def ask(token: str, address: str = HERE, path: str = API, **more: Any) -> HttpResponse:
    client = Client(raise_request_exception=False)
    headers = {"Authorization": f"Bearer {token}"}
    answer = client.get(path, headers=headers, REMOTE_ADDR=address, **more)
    assert isinstance(answer, HttpResponse)
    return answer


def events(verb: str) -> int:
    return AccessEvent.objects.filter(verb=verb).count()


def later(**gone: float) -> None:
    """As if so much time had passed since each window began."""
    for row in FailedAttempts.objects.all():
        FailedAttempts.objects.filter(pk=row.pk).update(since=row.since - timedelta(**gone))


@pytest.mark.parametrize("path", [API, HUB])
@pytest.mark.parametrize("token", ["nonsense", UNKNOWN, " "])
def test_address_with_too_many_bad_tokens_waits(db: None, path: str, token: str) -> None:
    found = [ask(token, path=path).status_code for _ in range(MOST + 5)]
    assert found == [401] * MOST + [429] * 5
    assert events("access.tokens_refused") == 1
    assert ask(token, ELSEWHERE, path).status_code == 401
    later(minutes=5, seconds=1)
    assert ask(token, path=path).status_code == 401


def test_refusal_has_the_shape_of_its_door(db: None) -> None:
    for _ in range(MOST):
        ask("nonsense")
    answer = ask("nonsense")
    assert 0 < int(answer.headers["Retry-After"]) <= 300
    assert json.loads(answer.content)["error"]["code"] == "throttled"
    assert "Too many tokens from here were not valid" in json.loads(answer.content)["error"]["message"]
    hub = ask("nonsense", path=HUB)
    assert hub.status_code == 429 and 0 < int(hub.headers["Retry-After"]) <= 300
    assert "Too many tokens from here" in hub.headers["X-Error-Message"] and set(json.loads(hub.content)) == {
        "error"
    }


def test_good_token_goes_on_working_at_an_address_over_its_limit(world: World) -> None:
    """A whole office may share the address of the one program with an expired token."""
    good = make_token(world.viewer)
    for _ in range(MOST + 2):
        ask("nonsense")
    assert [ask(good, path=path).status_code for path in (API, HUB)] == [200, 200]
    assert ask("nonsense").status_code == 429


@pytest.mark.parametrize("path", [API, HUB])
def test_request_without_a_token_is_no_attempt(db: None, path: str) -> None:
    client = Client(raise_request_exception=False)
    assert {client.get(path, REMOTE_ADDR=HERE).status_code for _ in range(MOST + 2)} == {401}
    assert not FailedAttempts.objects.exists()


def test_guesses_at_one_token_are_counted_from_everywhere(world: World) -> None:
    good = make_token(world.viewer)
    guess = good[:23] + "a" * 43
    most = SECRETS_OF_TOKEN.failures
    found = [ask(guess, f"198.51.100.{number}").status_code for number in range(most + 3)]
    assert found == [401] * most + [429] * 3
    event = AccessEvent.objects.get(verb="access.secret_guessed")
    assert good[6:22] in event.body and good[23:] not in event.body
    # The right secret is none that could be guessed; refusing it would let anybody who knows an id lock its owner out.
    assert ask(good, "198.51.100.1").status_code == 200
    assert ask(UNKNOWN, "198.51.100.200").status_code == 401


def test_guesses_at_ids_that_nobody_has_need_no_counters_of_their_own(db: None) -> None:
    for number in range(20):
        ask(f"assay_{number:016x}_" + "a" * 43)
    assert FailedAttempts.objects.count() == 1


def test_inference_server_is_never_limited_and_guesses_through_it_are_kept(world: World) -> None:
    server, good = Api.of(world.server, [Scope.SERVE]), make_token(world.viewer)
    guess = good[:23] + "a" * 43
    for token in [guess] * (SECRETS_OF_TOKEN.failures + 5) + ["nonsense"] * (MOST + 5):
        answer = server.post("/tokens/introspect", {"token": token})
        assert (answer.status, answer.data["active"]) == (200, False)
    assert server.post("/tokens/introspect", {"token": good}).data["active"] is True
    assert events("access.secret_guessed") == 1 and events("access.tokens_refused") == 0


def test_attack_writes_a_bounded_number_of_rows_and_events(db: None) -> None:
    for _ in range(MOST):
        ask("nonsense")
    rows, kept = list(FailedAttempts.objects.values()), AccessEvent.objects.count()
    for _ in range(20):
        ask("nonsense")
    assert (list(FailedAttempts.objects.values()), AccessEvent.objects.count()) == (rows, kept)


def test_many_addresses_do_not_fill_the_chain(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.guesses.TOKENS_FROM_ADDRESS", Limit("one", 1, timedelta(minutes=5)))
    for number in range(LIMITS_REACHED.failures + 10):
        ask("nonsense", f"203.0.{number}.1")
    assert events("access.tokens_refused") == LIMITS_REACHED.failures
    assert events("access.limits_often") == 1


def test_refusals_of_one_person_are_kept_up_to_a_number(world: World) -> None:
    client = Api.of(world.viewer)
    for _ in range(REFUSALS_OF_USER.failures + 5):
        assert client.post("/reviews", {}).status == 403
    assert events("access.denied") == REFUSALS_OF_USER.failures and events("access.denied_often") == 1
    assert Api.of(world.auditor).post("/reviews", {}).status == 403
    assert events("access.denied") == REFUSALS_OF_USER.failures + 1


def test_table_holds_no_address_and_no_name(world: World) -> None:
    good = make_token(world.viewer)
    ask(good[:23] + "a" * 43)
    held = str(list(FailedAttempts.objects.values()))
    assert HERE not in held and good[6:22] not in held and FailedAttempts.objects.count() == 2


def test_old_rows_are_swept_by_new_ones(db: None) -> None:
    ask("nonsense")
    later(minutes=11)
    ask("nonsense", ELSEWHERE)
    assert FailedAttempts.objects.count() == 1


def test_counters_that_cannot_be_read_refuse_the_bad_token_and_keep_the_good(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: Any) -> int:
        raise DatabaseError("away")

    monkeypatch.setattr(attempts, "wait_s", away)
    assert [ask("nonsense").status_code for _ in range(MOST + 2)] == [401] * (MOST + 2)
    assert ask(make_token(world.viewer)).status_code == 200


def test_client_behind_a_trusted_proxy_is_counted_by_its_own_address(db: None, settings: Any) -> None:
    settings.TRUSTED_PROXIES = [ip_network("10.0.0.0/24")]

    def behind(address: str) -> int:
        return ask("nonsense", "10.0.0.5", HTTP_X_FORWARDED_FOR=address).status_code

    assert [behind("203.0.113.7") for _ in range(MOST + 1)][-1] == 429
    assert behind("203.0.113.8") == 401


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),  # one customer's network
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("0.0.0.0", "0.0.0.0", True),
    ],
)
def test_addresses_count_together_when_one_customer_has_them_all(
    one: str, other: str, together: bool
) -> None:
    assert (attempts.network_of(one) == attempts.network_of(other)) == together


def test_window_begins_with_the_first_failure_and_ends_once(db: None) -> None:
    limit = Limit("test", 3, timedelta(minutes=5))
    assert [attempts.note(limit, "x") for _ in range(4)] == [1, 2, 3, 4]
    assert attempts.note(limit, "y") == 1
    first = attempts.wait_s(limit, "x")
    assert 295 <= first <= 300 and attempts.wait_s(limit, "y") == 0
    later(minutes=4)
    assert attempts.note(limit, "x") == 5  # a failure does not begin the window anew
    assert 0 < attempts.wait_s(limit, "x") <= 60
    later(minutes=1, seconds=1)
    assert attempts.wait_s(limit, "x") == 0 and attempts.note(limit, "x") == 1
    attempts.forgive(limit, "x")
    assert attempts.note(limit, "x") == 1
    assert FailedAttempts.objects.latest("since").since <= timezone.now()
