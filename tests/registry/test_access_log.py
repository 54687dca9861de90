"""The second chain: who signed in and who was refused, how they showed who they are, and nothing that names them in the raw."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from registry.models import AccessEvent, AuditEvent, User
from registry.services.teams import console_actor, grant_role, remove_role
from tests.factories import PASSWORD, Api, World, make_user

NAME, MAIL, ADDRESS = "nguyen.thi.lan", "lan@example.org", "203.0.113.77"


def bodies() -> list[dict[str, Any]]:
    return [json.loads(body) for body in AccessEvent.objects.order_by("seq").values_list("body", flat=True)]


@pytest.fixture
def person(world: World) -> User:
    made = make_user(NAME, email=MAIL, first_name="Lan", last_name="Nguyen")
    grant_role(actor=console_actor(world.admin.user), user=made, team=world.team, role="viewer")
    return made


def enter(password: str) -> Client:
    client = Client(REMOTE_ADDR=ADDRESS, headers={"X-Request-Id": "request-of-the-proxy"})
    client.post("/login/", {"username": NAME, "password": password})
    return client


# What somebody does; the verb, whether the actor is known, and how they showed who they are.
ACTS: list[tuple[Callable[[], Any], str, bool, str]] = [
    (lambda: enter("wrong"), "session.sign_in_failed", False, "system"),
    (lambda: enter(PASSWORD), "session.signed_in", True, "session"),
    (lambda: enter(PASSWORD).post("/logout/"), "session.signed_out", True, "session"),
    (lambda: enter(PASSWORD).post("/reviews/new/", {}), "access.denied", True, "session"),
]


@pytest.mark.parametrize(("act", "verb", "is_known", "method"), ACTS, ids=[act[1] for act in ACTS])
def test_act_is_in_the_access_chain(
    person: User, act: Callable[[], Any], verb: str, is_known: bool, method: str
) -> None:
    act()
    last = bodies()[-1]
    assert (last["verb"], last["actor"], last["auth"]) == (verb, person.pk if is_known else None, method)
    assert last["request"] == "request-of-the-proxy"


def test_refused_token_is_named_by_its_public_id(world: World, api: Callable[..., Api]) -> None:
    client = api(world.viewer)
    assert client.put("/policies", {"source": "policy: mine"}).status == 403
    last = bodies()[-1]
    assert (last["verb"], last["actor"], last["auth"]) == ("access.denied", world.viewer.user.pk, "token")
    assert last["token"] == client.token.split("_")[1] and last["request"]


def test_refused_token_of_a_hub_client_is_kept_too(world: World) -> None:
    assert Api.of(world.viewer, ["infer"]).get("/hub/api/models/acme/x").status == 403
    last = bodies()[-1]
    assert (last["verb"], last["actor"], last["auth"]) == ("access.denied", world.viewer.user.pk, "token")
    assert "lacks the scope `read`" in last["data"]["action"]


def test_no_event_names_a_person_in_the_raw(world: World, person: User) -> None:
    """Not the access chain, and not the acts on roles: people are in the log by their ids."""
    for act, *_ in ACTS:
        act()
    remove_role(actor=console_actor(world.admin.user), user=person, team=world.team, role="viewer")
    told = [*bodies(), *map(json.loads, AuditEvent.objects.values_list("body", flat=True))]
    text = json.dumps(told, ensure_ascii=False)
    assert len(told) >= 8
    for word in (NAME, MAIL, ADDRESS, "Lan", PASSWORD, "wrong"):
        assert word not in text


def test_sentences_name_people_when_they_are_read(world: World, person: User, client: Client) -> None:
    client.force_login(world.auditor.user)
    page = client.get("/audit/").content.decode()
    assert f"made {person.display_name} Viewer" in page
