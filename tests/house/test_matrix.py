"""The matrix of tests/house/matrix.py, knocked on: every role and every outsider, at every address, with every verb.

One team owns one object of each kind (tests/house/knocking.py). Each caller knocks everywhere with the emptiest well-formed
request; a knock that passes the door may well end in 4xx for its body. Whatever it wrote is rolled back, so that all knock on
the same world, and what a refused one wrote is named.
"""

from __future__ import annotations

from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from django.http import HttpResponseBase
from django.test import Client
from django.utils import timezone

from registry.actors import Actor
from registry.enums import Role, Scope
from registry.models import ApiToken, Membership
from tests.factories import World, make_token, make_user
from tests.house.addresses import walk
from tests.house.knocking import Knock, knocks, rolled_back, things
from tests.house.matrix import ROWS, STAFF

CALLERS = [*Role.values, "other team", "no team", "role taken away", "service account", "stranger"]
# What refused knocks may write: the access chain with its head, and counters of failures.
QUIET = ("registry_accessevent", "registry_audithead", "registry_failedattempts", "registry_auditcheckpoint")
# Where the emptiest request names nothing that there is.
BODIES = {"teams/switch/": b"team=acme"}
PASSED, OUT = "passed", {401: "401", 403: "403", 404: "404"}


def test_table_has_a_row_for_every_route_and_verb() -> None:
    found = {
        address.route: {verb for verb in address.rules or {} if verb != "HEAD"}
        for address in walk()
        if address.namespace != "admin"
    }
    assert {route: set(row) for route, row in ROWS.items()} == found
    for address in walk():
        rules = address.rules or {}
        assert rules.get("HEAD") == rules.get("GET"), address.route


# --- the callers -------------------------------------------------------------------------------------------------------


class Caller:
    """One of CALLERS: a session for pages, a token with every scope for the API and the Hub endpoint."""

    def __init__(self, world: World, name: str) -> None:
        self.name, self.session, self.token = name, Client(raise_request_exception=False), ""
        self.plain = Client(raise_request_exception=False)
        self.cookies = SimpleCookie()
        if name == "stranger":
            return
        actor = self._actor(world)
        scopes = [str(Scope.SERVE)] if name == "service account" else None
        self.token = make_token(actor, scopes)
        if name != "service account":  # it has no password, so it never has a session
            self.session.force_login(actor.user)
            self.cookies = self.session.cookies
        if name == "role taken away":
            Membership.objects.filter(user=actor.user).delete()

    def _actor(self, world: World) -> Actor:
        if self.name == "other team":
            return world.other
        if self.name == "no team":
            return Actor(user=make_user("newcomer"), team=None)
        if self.name == "service account":
            return world.server
        return world.by_role("viewer" if self.name == "role taken away" else self.name)

    def knock(self, knock: Knock) -> HttpResponseBase:
        body = b"" if knock.kind == "page" else b"{}"
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        kind = "application/json"
        if knock.kind == "page":
            kind = "application/x-www-form-urlencoded"
            client = self.plain if self.name == "service account" else self.session
            client.cookies = SimpleCookie()  # signing out is a knock, too
            client.cookies.update(self.cookies)
            body = BODIES.get(knock.route, b"")
            headers = headers if self.name == "service account" else {}
        else:
            client = self.plain
        url = (
            f"{knock.url}?team=acme" if knock.kind == "hub" and self.name == "service account" else knock.url
        )
        answer: HttpResponseBase = client.generic(knock.verb, url, body, content_type=kind, headers=headers)
        if answer.streaming:
            list(answer.streaming_content)  # type: ignore[attr-defined]  # its end closes the file
        return answer

    def expected(self, knock: Knock) -> str:
        """One of: passed, 401, 403, 404, sign in."""
        cell, unknown = knock.cell, "sign in" if knock.kind == "page" else "401"
        if cell.door == "anyone":
            return PASSED
        if self.name == "stranger" or (self.name == "service account" and knock.kind == "page"):
            return unknown
        if self.name == "role taken away" and knock.kind != "page":
            return "401"
        if cell.door in ("refused", "staff"):
            return "403"
        if cell.door == "nothing":
            return "404"
        if self.name == "service account":
            return self._of_a_service(knock)
        if cell.door == "service":
            return "403"
        if cell.door == "signed in":
            return PASSED
        if cell.door == "own":
            return PASSED if self.name in cell.roles else "404"
        if self.name in ("no team", "role taken away"):
            return "403"
        if self.name == "other team":
            return PASSED if cell.door == "team" else "404"
        return PASSED if self.name in cell.roles else "403"

    def _of_a_service(self, knock: Knock) -> str:
        """It has the scope `serve` alone: its own addresses, and the Hub endpoint in the name of a team."""
        if knock.cell.door == "service" or knock.kind == "hub":
            return PASSED
        return "403"


def seen(answer: HttpResponseBase) -> str:
    if answer.status_code == 302 and answer.headers["Location"].startswith("/login/?next="):
        return "sign in"
    return OUT.get(answer.status_code, PASSED)


@pytest.mark.parametrize("name", CALLERS)
def test_every_cell_is_what_the_table_says(world: World, settings: Any, name: str) -> None:
    settings.HUB_ENDPOINT = "http://127.0.0.1:1"
    filled = things(world)
    caller = Caller(world, name)
    # The note of a token's last use, once a minute, is no act of the knock.
    ApiToken.objects.update(last_used_at=timezone.now() + timedelta(hours=1))
    wrong, count = [], 0
    for knock in knocks(filled):
        if knock.cell == STAFF and name in Role.values and name != Role.ADMIN:
            continue  # a door that looks at no role: one of them is as good as all
        written: list[str] = []
        with rolled_back(written):
            answer = caller.knock(knock)
        expected, count = caller.expected(knock), count + 1
        if answer.status_code >= 500 or seen(answer) != expected:
            wrong.append(f"{knock}: {answer.status_code}, expected {expected}")
        if expected == "403":
            said = answer.content.decode() if hasattr(answer, "content") else ""
            if len(said) < 40 and not answer.headers.get("X-Error-Message"):
                wrong.append(f"{knock}: refused without a sentence")
        loud = [table for table in written if table not in QUIET and table != "django_session"]
        if expected != PASSED and loud:
            wrong.append(f"{knock}: refused, and wrote {sorted(set(loud))}")
    assert wrong == []
    assert count > 150
