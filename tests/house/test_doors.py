"""Ways around a door that other products had (their numbers stand in the security notes), knocked on one by one."""

from __future__ import annotations

import hmac
import re
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.hashers import MD5PasswordHasher
from django.test import Client, RequestFactory

from registry.enums import Role
from registry.models import User
from registry.services import tokens
from tests.factories import PASSWORD, Api, World, make_member, make_token, make_user
from tests.house.knocking import knocks, rolled_back, things

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("config", "registry", "inference", "reviews")


def sources() -> list[tuple[str, str]]:
    return [
        (str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))
        for package in PRODUCT
        for path in sorted((ROOT / package).rglob("*.py"))
    ]


# --- addresses that look like open ones --------------------------------------------------------------------------------

AROUND = [
    "/healthz/../api/v1/me", "/healthz/../models/", "/static/../api/v1/me", "/static/..%2fapi/v1/me", "//api/v1/me",
    "///api/v1/me",
    "/static%2f..%2fapi/v1/me", "/./api/v1/me", "/api//v1/me", "/healthz-x", "/healthzx", "/healthz/",
    "/healthz;/api/v1/me",
    "/login/../models/", "/login//", "/login/x", "/loginx/", "/hub/api/agent-harnesses/../../../api/v1/me", "/API/v1/me",
    "/hub/api/agent-harnesses/../whoami-v2", "/hub/../api/v1/me", "/api/v1/me/", "/api/v1/me%20", "/api/v1/me%00",
    "/api/v1/tokens/introspect/", "/api/v1/%6de", "/admin/../api/v1/me", "/admin/login/../../models/",
]  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "/assay"])
@pytest.mark.parametrize("path", AROUND)
def test_no_spelling_of_an_address_gets_a_stranger_past_the_door(
    client: Client, db: None, path: str, prefix: str
) -> None:
    client.raise_request_exception = False
    answer = client.generic("GET", path, SCRIPT_NAME=prefix)
    assert answer.status_code in (301, 302, 400, 401, 404)
    if answer.status_code in (301, 302):  # to sign in, or to the same address with a slash
        target = urlsplit(answer.headers["Location"])
        assert not target.netloc and ("login/" in target.path or target.path.endswith("/"))


# --- host names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "testserver.evil.example", "127.0.0.1.evil.example", "testserver@evil.example"]
)
@pytest.mark.parametrize("path", ["/login/", "/healthz", "/api/v1/me", "/hub/api/agent-harnesses"])
def test_foreign_host_is_refused(world: World, settings: Any, host: str, path: str) -> None:
    settings.ALLOWED_HOSTS = ["testserver", "127.0.0.1"]
    answer = Client(raise_request_exception=False).get(path, headers={"Host": host})
    assert answer.status_code == 400 and host not in answer.content.decode()


@pytest.mark.parametrize(
    "header", ["X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-URL", "X-Rewrite-URL"]
)
def test_headers_of_proxies_name_no_host_and_no_address(world: World, header: str) -> None:
    client = Client(raise_request_exception=False)
    answer = client.get("/reviews/", headers={header: "evil.example"})
    assert answer.status_code == 302 and answer.headers["Location"] == "/login/?next=%2Freviews%2F"


# --- the way back ------------------------------------------------------------------------------------------------------

ELSEWHERE = [
    "//evil.example", "///evil.example", "////evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
    "/%09/evil.example", "https:evil.example", "https:/evil.example", "https://evil.example", "http:///evil.example",
    "@evil.example", "evil.example", "javascript:alert(1)", " //evil.example", "\x01//evil.example", "/\n/evil.example",
    "//evil.example/..", "https://testserver@evil.example/", "https://testserver.evil.example/", "//[::1", "home", "",
]  # fmt: skip


def stays(location: str) -> bool:
    """As a browser reads it: tabs and line breaks fall out, a backslash is a slash."""
    read = re.sub(r"[\t\r\n]", "", location).strip().replace("\\", "/")
    return urlsplit(urljoin("http://testserver/somewhere/", read)).netloc == "testserver"


@pytest.mark.parametrize("target", ELSEWHERE)
def test_the_way_back_stays_in_the_house(world: World, target: str) -> None:
    client = Client(raise_request_exception=False)
    entered = client.post("/login/", {"username": "viewer", "password": PASSWORD, "next": target})
    answers = [
        entered,
        client.post("/language/", {"language": "en", "next": target}),
        client.post("/teams/switch/", {"team": "acme", "next": target}),
    ]
    for answer in answers:
        assert answer.status_code == 302, answer.request["PATH_INFO"]
        assert stays(answer.headers["Location"]), answer.headers["Location"]


def test_the_way_back_is_taken_when_it_is_ours(world: World) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(world.viewer.user)
    for path, body in (("/language/", {"language": "en"}), ("/teams/switch/", {"team": "acme"})):
        answer = client.post(path, {**body, "next": "/reviews/?status=open"})
        assert answer.headers["Location"] == "/reviews/?status=open"


# --- frames ------------------------------------------------------------------------------------------------------------


def test_no_answer_can_be_put_into_a_frame(
    world: World, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """Every error page, too: 302, 400, 401, 403, 403 for CSRF, 404, 405, 413, 429, 500."""

    def fail(*args: object) -> None:
        raise RuntimeError("broken")

    settings.ALLOWED_HOSTS = ["testserver"]
    stranger, known = Client(raise_request_exception=False), Client(raise_request_exception=False)
    known.force_login(world.viewer.user)
    strict = Client(raise_request_exception=False, enforce_csrf_checks=True)
    strict.force_login(world.viewer.user)
    for _ in range(10):
        locked = stranger.post("/login/", {"username": "nobody", "password": "x"})
    answers = [
        (302, stranger.get("/reviews/")),
        (400, stranger.get("/login/", headers={"Host": "evil.example"})),
        (400, known.get("/search/?q=%00")),
        (401, stranger.get("/reviews/", headers={"HX-Request": "true"})),
        (401, stranger.get("/api/v1/me")),
        (403, known.get("/reviews/new/")),
        (403, strict.post("/logout/")),
        (404, known.get("/nothing/")),
        (404, known.get("/api/v1/nothing")),
        (405, known.post("/models/")),
        (
            413,
            known.post("/tokens/", b"x", content_type="text/plain", headers={"Content-Length": str(2**40)}),
        ),
        (429, locked),
    ]
    monkeypatch.setattr("registry.queries.models_of", fail)
    answers += [(500, known.get("/models/")), (500, known.get("/api/v1/models"))]
    for status, answer in answers:
        assert answer.status_code == status, answer.request
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], answer.request
        assert "unsafe" not in answer.headers["Content-Security-Policy"]


# --- who exists, and what their secret is ------------------------------------------------------------------------------


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The passwords that were hashed: the work that takes time."""
    found: list[str] = []
    encode = MD5PasswordHasher.encode

    def counting(self: MD5PasswordHasher, password: str, salt: str) -> str:
        found.append(password)
        return encode(self, password, salt)

    monkeypatch.setattr(MD5PasswordHasher, "encode", counting)
    return found


@pytest.mark.parametrize("name", ["viewer", "nobody", "gone", "inference-server", "Viewer"])
def test_sign_in_does_the_same_work_and_says_the_same_for_every_name(
    world: World, hashed: list[str], name: str
) -> None:
    make_user("gone", is_active=False)
    User.objects.filter(username="inference-server").update(password="!unusable")
    hashed.clear()
    answer = Client().post("/login/", {"username": name, "password": "wrong"})
    assert len(hashed) == 1
    said = Client().post("/login/", {"username": "somebody-else", "password": "wrong"})
    assert answer.status_code == said.status_code == 200

    def words(page: str) -> str:
        # The name that was typed stands in its field, and the CSRF token is another on each page.
        return re.sub(r'value="[^"]*"|\b[A-Za-z0-9]{64}\b', "", page)

    assert words(answer.content.decode()) == words(said.content.decode())


def test_locked_out_name_is_not_even_looked_up(world: World, hashed: list[str]) -> None:
    for _ in range(10):
        Client().post("/login/", {"username": "viewer", "password": "wrong"})
    hashed.clear()
    assert Client().post("/login/", {"username": "viewer", "password": PASSWORD}).status_code == 429
    assert hashed == []
    request = RequestFactory().post("/login/", REMOTE_ADDR="192.0.2.9")
    assert authenticate(request, username="viewer", password=PASSWORD) is not None  # from elsewhere


def test_secret_of_a_token_is_compared_in_constant_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []
    compare = hmac.compare_digest

    def watched(given: Any, kept: Any) -> bool:
        compared.append((len(given), len(kept)))
        return bool(compare(given, kept))

    monkeypatch.setattr(hmac, "compare_digest", watched)
    text = make_token(world.viewer)
    for end in ("a" * 43, text[23:65] + "_", "_" + text[24:]):
        assert tokens.actor_of_token(text[:23] + end) is None
    assert tokens.actor_of_token(text) is not None
    assert compared == [(64, 64)] * 4  # digests: their length says nothing of the secret


# --- words of the database in a request --------------------------------------------------------------------------------

SMUGGLED = (
    "_connector=OR&_negated=1&ordering=password&order_by=-user__password&owner__password__startswith=a&user__password=a"
    "&id__in=1&pk=1&team=globex&team__slug=globex&team_id=2&model__team=2&actor_id=1&is_active=0&select_related=user&"
    "username__regex=.*"
)


def test_no_query_string_reaches_the_database_as_a_lookup(world: World) -> None:
    """Either it is refused, or the answer is the one without it."""
    filled = things(world)
    client = Api.of(make_member(world.team, *Role))
    seen = 0
    for knock in knocks(filled):
        if knock.verb != "GET" or knock.kind != "api" or knock.cell.door == "service":
            continue
        if knock.route == "api/v1/docs":
            continue  # the page of the documentation asks for its script under its own address, query and all
        with rolled_back([]):
            plain = client.get(knock.url)
        with rolled_back([]):
            smuggled = client.get(f"{knock.url}?{SMUGGLED}")
        assert smuggled.status in (plain.status, 404, 422), knock
        if smuggled.status == plain.status == 200:
            seen += 1
            assert len(smuggled.content) == len(plain.content), knock
    assert seen > 20


def test_no_request_is_spread_into_keyword_arguments() -> None:
    pattern = re.compile(
        r"\*\*\s*(?:dict\()?\w*request\w*\.(?:GET|POST|data|query_params|FILES)|\.order_by\([^\"'\)]*request"
    )
    assert [name for name, text in sources() if pattern.search(text)] == []
