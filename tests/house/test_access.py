"""Who may knock where: every address times every verb, walked from the resolver, so that nothing can be forgotten."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

import pytest
from django.test import Client

from registry.access import Who
from registry.enums import Role, Scope
from registry.models import AccessEvent
from tests.factories import Api, World, make_member, make_user
from tests.house.addresses import VERBS, Address, walk

ADDRESSES = walk()
OURS = [address for address in ADDRESSES if address.namespace != "admin"]

_MODEL = "hub/api/models/<name:org>/<name:name>"
HUB_READS = {
    "hub/<name:org>/<name:name>/resolve/<name:revision>/<anything:path>", "hub/api/models", "hub/api/whoami-v2",
    "hub/api/agent-harnesses", _MODEL, f"{_MODEL}/refs", f"{_MODEL}/commits/<name:revision>",
    f"{_MODEL}/revision/<anything:revision>", f"{_MODEL}/tree/<name:revision>",
    f"{_MODEL}/tree/<name:revision>/<anything:folder>",
}  # fmt: skip
HUB_FORMS = {f"{_MODEL}/paths-info/<name:revision>"}
HUB_REFUSED = {
    "hub/<anything:rest>", "hub/<name:org>/<name:name>/info/lfs/<anything:rest>", "hub/api/repos/<anything:rest>",
    "hub/api/validate-yaml", f"{_MODEL}/commit/<name:revision>", f"{_MODEL}/preupload/<name:revision>",
    f"{_MODEL}/xet-write-token/<name:revision>",
}  # fmt: skip

# The whole list of what a stranger may do. A new line here is a decision that somebody has to defend.
OPEN_TO_ANYONE: dict[str, set[str]] = {
    "healthz": {"GET", "HEAD"},
    "login/": {"GET", "HEAD", "POST"},
    # Hub clients read the Hub's own error codes, so these keep their door inside and answer 401 themselves.
    **{route: {"GET", "HEAD"} for route in HUB_READS},
    **{route: {"POST"} for route in HUB_FORMS},
    **{route: {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"} for route in HUB_REFUSED},
}
# The one of them that tells a stranger something: that there is no harness to tell apart.
HUB_WITHOUT_TOKEN = {"hub/api/agent-harnesses"}

# These two answer in their own formats (YAML, a page), refusals included.
OTHER_RENDERERS = {"api/v1/schema", "api/v1/docs"}


def named(addresses: list[Address]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("address", addresses, ids=lambda a: a.route or "home")


def wrong(found: dict[str, int], expected: int) -> dict[str, int]:
    """The knocks that were answered otherwise than expected: empty when all is well."""
    return {knock: status for knock, status in found.items() if status != expected}


def knock(client: Client, address: Address, verb: str) -> int:
    answer = client.generic(
        verb, address.url, b"{}" if address.is_api else b"", content_type="application/json"
    )
    return answer.status_code


def test_resolver_is_walked() -> None:
    assert len(OURS) > 50 and len(ADDRESSES) > len(OURS)


@named(ADDRESSES)
def test_every_address_declares_its_rules(address: Address) -> None:
    rules = address.rules
    assert rules, (
        f"{address.route} declares no access rule, so nobody can use it: add @access(...) or access = rules(...)"
    )
    assert "OPTIONS" not in rules and "TRACE" not in rules


def test_open_addresses_are_exactly_the_listed_ones() -> None:
    found = {
        address.route: {verb for verb, rule in (address.rules or {}).items() if rule.who is Who.ANYONE}
        for address in ADDRESSES
    }
    assert {route: verbs for route, verbs in found.items() if verbs} == OPEN_TO_ANYONE


@pytest.mark.parametrize(("is_api", "status"), [(True, 401), (False, 302)])
def test_stranger_is_kept_out(is_api: bool, status: int, db: None) -> None:
    client = Client(raise_request_exception=False)
    found = {
        f"{verb} {address.url}": knock(client, address, verb)
        for address in ADDRESSES
        for verb in address.rules or {}
        if address.is_api == is_api and verb not in OPEN_TO_ANYONE.get(address.route, set())
    }
    assert len(found) > 40 and wrong(found, status) == {}


def test_stranger_without_a_token_gets_401_from_every_hub_address(world: World) -> None:
    """A browser's session counts for nothing there, so being signed in opens nothing and needs no CSRF check."""
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    client.force_login(world.admin.user)
    found = {
        f"{verb} {address.url}": knock(client, address, verb)
        for address in OURS
        if address.route.startswith("hub/") and address.route not in HUB_WITHOUT_TOKEN
        for verb in address.rules or {}
    }
    assert len(found) > 50 and wrong(found, 401) == {}


def test_stranger_at_a_page_is_sent_to_sign_in_and_back(client: Client, db: None) -> None:
    answer = client.get("/reviews/?status=in_review")
    assert answer.headers["Location"] == "/login/?next=%2Freviews%2F%3Fstatus%3Din_review"


def test_stranger_with_htmx_is_told_where_to_sign_in(client: Client, db: None) -> None:
    answer = client.get("/reviews/", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"].startswith("/login/?next=")


@pytest.mark.parametrize(
    ("current", "back"),
    [
        ("http://testserver/reviews/7/?tab=card", "/reviews/7/?tab=card"),
        ("http://testserver/", "/"),
        ("https://evil.example/reviews/7/", "/runs/"),
        ("//evil.example/x", "/runs/"),
        ("javascript:alert(1)", "/runs/"),
        ("", "/runs/"),
    ],
)
def test_htmx_brings_a_stranger_back_to_the_page_and_not_to_its_part(
    client: Client, db: None, current: str, back: str
) -> None:
    answer = client.get("/runs/", headers={"HX-Request": "true", "HX-Current-URL": current})
    assert answer.headers["HX-Redirect"] == f"/login/?{urlencode({'next': back})}"


def test_undeclared_verb_answers_405(world: World) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(world.admin.user)
    found = {
        f"{verb} {address.url}": knock(client, address, verb)
        for address in ADDRESSES
        for verb in set(VERBS) - set(address.rules or {})
    }
    assert len(found) > 300 and wrong(found, 405) == {}


def test_undeclared_verb_of_the_api_answers_in_the_one_shape(world: World, api: Callable[..., Api]) -> None:
    answer = api(world.admin).delete("/models")
    assert answer.status == 405 and answer.code == "method_not_allowed"
    assert answer.headers["Allow"] == "GET, HEAD"


def test_person_without_a_team_is_told_so(db: None) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(make_user("newcomer"))
    for address in OURS:
        for verb, rule in (address.rules or {}).items():
            if rule.who is Who.MEMBER and verb == "GET":
                answer = client.get(address.url)
                assert answer.status_code == 403, address.url
                if address.route not in OTHER_RENDERERS:
                    assert "not a member of any team" in answer.content.decode()


def test_admin_site_is_closed_to_people_without_staff(world: World) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(world.admin.user)  # the role admin of a team opens nothing here
    found = {
        f"{verb} {address.url}": knock(client, address, verb)
        for address in ADDRESSES
        if address.namespace == "admin"
        for verb in address.rules or {}
    }
    assert len(found) > 20 and wrong(found, 403) == {}


# A question by POST, because the text of a policy does not fit into an address.
READS_BY_POST = {("api/v1/policies/simulate", "POST")}


def test_verbs_of_the_api_that_write_need_more_than_the_scope_read() -> None:
    found = {
        (address.route, verb)
        for address in OURS
        for verb, rule in (address.rules or {}).items()
        if address.is_api and verb not in ("GET", "HEAD") and Scope.READ in rule.scopes
    }
    assert found == READS_BY_POST


HUB_SCOPES: dict[str, Scope] = {
    route: Scope.ARTIFACTS if "/resolve/" in route else Scope.READ
    for route in HUB_READS | HUB_FORMS
    if route not in HUB_WITHOUT_TOKEN | {"hub/api/whoami-v2"}
}


def test_hub_endpoint_tells_with_read_and_hands_out_files_with_artifacts(
    world: World, api: Callable[..., Api]
) -> None:
    clients = {
        scope: api(world.viewer, [s for s in Scope.values if s not in (scope, Scope.SERVE)])
        for scope in (Scope.READ, Scope.ARTIFACTS)
    }
    routes = {address.route: address for address in OURS}
    for route, scope in HUB_SCOPES.items():
        for verb in routes[route].rules or {}:
            answer = clients[scope].send(verb, routes[route].url)
            assert answer.status == 403, route
            assert f"lacks the scope `{scope}`" in answer.headers["X-Error-Message"]


def test_token_without_the_scope_is_refused_with_the_sentence(world: World, api: Callable[..., Api]) -> None:
    """Every scope of every address, the Hub's too: without it, and with all others, the door stays closed."""
    everything = make_member(world.team, *Role)
    clients: dict[tuple[Scope, ...], Api] = {}
    for address in OURS:
        for verb, rule in (address.rules or {}).items():
            if not address.is_api or rule.who is Who.SERVICE or verb == "HEAD":
                continue
            if rule.scopes not in clients:
                others = [scope for scope in Scope.values if scope not in (*rule.scopes, Scope.SERVE)]
                clients[rule.scopes] = api(everything, others)
            answer = clients[rule.scopes].send(verb, address.url)
            assert answer.status == 403, f"{verb} {address.url}: {answer.data}"
            if address.route not in OTHER_RENDERERS:
                needed = " or ".join(f"`{scope}`" for scope in rule.scopes)
                sentence = f"This token lacks the scope {needed}. Create one that has it under Tokens."
                assert answer.error["message"] == sentence
    found = {scope for scopes in clients for scope in scopes}
    # `infer` opens the inference server (tests/server/test_auth.py), `serve` the service addresses (below).
    assert found == set(Scope) - {Scope.INFER, Scope.SERVE}


@named([a for a in OURS if any(rule.who is Who.SERVICE for rule in (a.rules or {}).values())])
def test_service_addresses_are_closed_to_people_and_to_narrow_service_tokens(
    address: Address, world: World, api: Callable[..., Api]
) -> None:
    for verb, rule in (address.rules or {}).items():
        assert rule.who is Who.SERVICE and rule.scopes == (Scope.SERVE,)
        for caller in (api(world.admin), api(world.server, [Scope.READ])):
            if verb != "HEAD":
                assert caller.send(verb, address.url).code == "not_allowed"


def test_session_writes_need_the_csrf_token(world: World) -> None:
    """Being signed in must not let another site write in one's name, at a page or at the API."""
    client = Client(raise_request_exception=False, enforce_csrf_checks=True)
    client.force_login(world.admin.user)
    found = {
        f"{verb} {address.url}": knock(client, address, verb)
        for address in OURS
        if not address.route.startswith("hub/")  # these never look at the session
        for verb in set(address.rules or {}) - {"GET", "HEAD"}
    }
    assert len(found) > 30 and wrong(found, 403) == {}


def test_signed_in_person_changes_nothing_by_reading(world: World) -> None:
    """No address writes on GET: a link in a mail must not act."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    client = Client(raise_request_exception=False)
    client.force_login(world.submitter.user)
    for address in OURS:
        if "GET" not in (address.rules or {}) or "serving" in address.route:
            continue
        with CaptureQueriesContext(connection) as queries:
            client.get(address.url)
        # A refusal is written into the access chain and counted, and a session remembers its team: nothing else.
        writes = [
            q["sql"]
            for q in queries
            if q["sql"].startswith(("INSERT", "UPDATE", "DELETE"))
            and not any(table in q["sql"][:50] for table in ('"registry_a', "registry_failedattempts"))
            and "django_session" not in q["sql"]
        ]
        assert not writes, f"GET {address.url} writes: {writes}"


def test_refusal_of_a_known_person_is_kept(world: World, api: Callable[..., Api]) -> None:
    # Who may not gets no word about the body, however wrong it is; who may hears that it was no form.
    assert api(world.viewer).post("/golden-sets", {}).code == "role_missing"
    assert api(world.submitter).post("/golden-sets", {}).status == 415
    answer = api(world.viewer).post("/reviews", {
        "model_id": "acme/x", "use_case": "Sort messages by mood", "environment": "staging", "data_class": "internal",
    })  # fmt: skip
    assert answer.status == 403 and answer.code == "role_missing"
    event = AccessEvent.objects.latest("seq")
    assert event.verb == "access.denied" and event.actor_id == world.viewer.user.pk


@pytest.mark.parametrize(
    "path", ["/api/v1/nothing", "/api/v1/models/acme/x/revisions/UPPER", "/api/v1/jobs/abc", "/api/x"]
)
def test_unknown_api_address_answers_in_the_one_shape(
    path: str, world: World, api: Callable[..., Api]
) -> None:
    answer = api(world.viewer).send("GET", path)
    assert answer.status == 404 and answer.code == "not_found"


def test_unknown_page_answers_404_as_a_page(client: Client, world: World) -> None:
    client.force_login(world.viewer.user)
    answer = client.get("/nothing/here/")
    assert answer.status_code == 404
    assert "<html" in answer.content.decode()
