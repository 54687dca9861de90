"""The short way of `/hub` answers as the long one would: same status, same bytes, same headers, same doors."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import resolve
from pytest_django import Settings

from registry.gateway import lane
from registry.services.approvals import change_approval
from tests.factories import MODEL_ID, SHA_A, SHA_B, Api, make_approval
from tests.gateway.scene import Scene

FILE = f"/hub/{MODEL_ID}/resolve/{{}}/config.json"
INFO = f"/hub/api/models/{MODEL_ID}"
# Made for pages, or different by nature.
NOT_COMPARED = {"Vary", "Content-Language", "X-Request-Id"}

ASKED = [
    ("GET", FILE.format("main")), ("HEAD", FILE.format("main")), ("GET", FILE.format("production")),
    ("GET", FILE.format(SHA_A)), ("HEAD", FILE.format(SHA_A)), ("GET", FILE.format(SHA_B)), ("HEAD", FILE.format(SHA_B)),
    ("GET", f"/hub/{MODEL_ID}/resolve/main/no.such"), ("GET", f"/hub/{MODEL_ID}/resolve/main/evil.bin"),
    ("GET", f"/hub/{MODEL_ID}/resolve/main/../config.json"), ("GET", f"/hub/{MODEL_ID}/resolve/main/%00"),
    ("GET", INFO), ("GET", f"{INFO}/tree/main?recursive=true"), ("GET", f"{INFO}/refs"), ("GET", f"{INFO}/commits/main"),
    ("POST", f"{INFO}/paths-info/main"), ("GET", "/hub/api/models"), ("GET", "/hub/api/whoami-v2"),
    ("GET", "/hub/api/agent-harnesses"), ("GET", "/hub/"), ("GET", "/hub/nothing/here"), ("POST", "/hub/api/repos/create"),
    ("PUT", FILE.format("main")), ("DELETE", INFO), ("PATCH", FILE.format(SHA_A)), ("OPTIONS", INFO),
    ("TRACE", "/hub/nothing"), ("GET", "/hub"),
]  # fmt: skip


def ask(
    settings: Settings, token: str, verb: str, path: str, *, short: bool
) -> tuple[int, bytes, dict[str, str]]:
    middleware = [m for m in settings.MIDDLEWARE if short or m != "registry.gateway.lane.hub_lane"]
    assert short == (len(middleware) == len(settings.MIDDLEWARE))
    headers = {"Authorization": f"Bearer {token}", "Accept-Language": "vi"}
    with_lane = settings.MIDDLEWARE
    settings.MIDDLEWARE = middleware
    try:
        answer: Any = Client(raise_request_exception=False).generic(verb, path, headers=headers)
    finally:
        settings.MIDDLEWARE = with_lane
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return answer.status_code, content, {k: v for k, v in answer.headers.items() if k not in NOT_COMPARED}


@pytest.mark.parametrize(("verb", "path"), ASKED)
@pytest.mark.parametrize("known", [True, False], ids=["token", "no token"])
def test_both_ways_give_the_same_answer(
    hub: Api, scene: Scene, settings: Settings, verb: str, path: str, known: bool
) -> None:
    token = hub.token if known else "wrong"
    short, long = (ask(settings, token, verb, path, short=way) for way in (True, False))
    assert short == long


def test_every_address_leads_to_the_same_view() -> None:
    for _, path in ASKED:
        if path.startswith(lane.PREFIX):
            found = lane._addresses.resolve(path.partition("?")[0].replace("%00", "\0"))
            assert found.func is resolve(path.partition("?")[0].replace("%00", "\0")).func


def test_session_of_a_browser_opens_nothing(scene: Scene) -> None:
    browser = Client()
    browser.force_login(scene.world.viewer.user)
    assert browser.get(FILE.format("main")).status_code == 401


def test_refusal_speaks_the_language_that_was_asked_for_and_not_that_of_the_page_before(
    hub: Api, scene: Scene
) -> None:
    change_approval(actor=scene.world.admin, approval=scene.approval, action="suspend", reason="Leaked data")
    before = hub.get(FILE.format(SHA_A)).data
    browser = Client(headers={"Accept-Language": "vi"})
    browser.force_login(scene.world.viewer.user)
    assert browser.get("/").status_code == 200
    assert hub.get(FILE.format(SHA_A)).data == before


@pytest.mark.parametrize("asked", ["main", "production", SHA_A])
@pytest.mark.parametrize("verb", ["HEAD", "GET"])
def test_file_costs_two_statements(hub: Api, scene: Scene, verb: str, asked: str) -> None:
    """Who asks, and what is it: however many files, approvals and revisions there are."""
    hub.get(FILE.format(asked))  # notes the token's use, once a minute
    for environment in ("staging", "development"):
        with CaptureQueriesContext(connection) as found:
            assert hub.send(verb, FILE.format(asked)).status == 200
        assert len(found) == 2, [row["sql"] for row in found]
        make_approval(scene.world, scene.pending, environment=environment)


def test_quarantined_file_is_left_to_the_long_way(hub: Api, scene: Scene) -> None:
    """Which has the sentence for it."""
    answer = hub.get(f"/hub/{MODEL_ID}/resolve/main/evil.bin")
    assert answer.status == 404 and answer.headers["X-Error-Code"] == "EntryNotFound"
