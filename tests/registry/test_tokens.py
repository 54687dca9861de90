"""API tokens: shown once, kept as a digest, and dead as soon as their owner's right is."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from registry.actors import Actor
from registry.enums import Role, Scope
from registry.exceptions import InvalidInput, NotAllowed
from registry.models import AccessEvent, ApiToken, AuditEvent, Membership
from registry.services import tokens
from registry.services.tokens import actor_of_token, create_token
from tests.factories import Api, World, make_approval, make_member, make_revision, make_token

Clients = Callable[..., Api]


def make(world: World, api: Clients, **body: Any) -> Any:
    return api(world.submitter).post("/tokens", {"name": "notebook", "scopes": ["read", "infer"], **body})


def test_token_is_shown_once_and_kept_as_a_digest(world: World, api: Clients) -> None:
    answer = make(world, api, days=30)
    assert answer.status == 201
    text = answer.data["token"]
    assert re.fullmatch(r"assay_[0-9a-f]{16}_[A-Za-z0-9_-]{43}", text)
    row = ApiToken.objects.get(public_id=answer.data["public_id"])
    secret = text.rsplit("_", 1)[1] if text.count("_") == 2 else text[23:]
    assert secret not in str(ApiToken.objects.filter(pk=row.pk).values())
    assert secret not in "".join(AuditEvent.objects.values_list("body", flat=True))
    listed = api(world.submitter).get("/tokens").data["results"]
    assert all("token" not in entry and "digest" not in entry for entry in listed)
    assert timedelta(days=29) < row.expires_at - timezone.now() < timedelta(days=31)


def test_token_lives_90_days_unless_told_otherwise(world: World, api: Clients) -> None:
    row = ApiToken.objects.get(pk=make(world, api).data["id"])
    assert (row.expires_at - row.created_at).days in (89, 90)


def test_token_works_until_it_is_revoked(world: World, api: Clients) -> None:
    mine = make(world, api).data
    client = Api(mine["token"])
    assert client.get("/me").data["scopes"] == ["infer", "read"]
    assert api(world.submitter).delete(f"/tokens/{mine['id']}").status == 204
    answer = client.get("/me")
    assert answer.status == 401 and answer.code == "not_authenticated"
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="assay"'
    assert api(world.submitter).delete(f"/tokens/{mine['id']}").status == 204  # twice is once
    assert AuditEvent.objects.filter(verb="token.revoked").count() == 1


def test_another_persons_token_cannot_be_revoked_or_seen(world: World, api: Clients) -> None:
    mine = make(world, api).data
    assert api(world.admin).delete(f"/tokens/{mine['id']}").status == 404
    assert mine["id"] not in [t["id"] for t in api(world.admin).get("/tokens").data["results"]]


def expired(token: ApiToken) -> None:
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(seconds=1))


def revoked(token: ApiToken) -> None:
    ApiToken.objects.filter(pk=token.pk).update(revoked_at=timezone.now())


def owner_left_the_team(token: ApiToken) -> None:
    Membership.objects.filter(user=token.user).delete()


def owner_was_deactivated(token: ApiToken) -> None:
    token.user.is_active = False
    token.user.save()


def owner_changed_teams(token: ApiToken) -> None:
    Membership.objects.filter(user=token.user).delete()
    other = make_member_team()
    Membership.objects.create(user=token.user, team=other, role=Role.ADMIN)


def make_member_team() -> Any:
    from tests.factories import make_team

    return make_team("elsewhere")


@pytest.mark.parametrize(
    "ending", [expired, revoked, owner_left_the_team, owner_was_deactivated, owner_changed_teams]
)
def test_token_ends_with_its_right(world: World, ending: Callable[[ApiToken], None]) -> None:
    text = make_token(world.submitter)
    assert Api(text).get("/models").status == 200
    ending(ApiToken.objects.get())
    answer = Api(text).get("/models")
    assert answer.status == 401
    assert answer.error["message"].startswith(
        "This token is not valid: it is misspelt, expired, revoked, or its owner"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "x",
        "assay_0123456789abcdef_" + "a" * 43,  # well-formed, unknown
        "{text}x",
        "{cut}",
        "{upper}",
        "assay_{other_id}_{secret}",
        "\x00",
        "🔑" * 20,
    ],
)
def test_wrong_token_is_refused_and_never_ignored(world: World, wrong: str) -> None:
    text, other = make_token(world.submitter), make_token(world.admin)
    parts = {
        "text": text, "cut": text[:-1], "upper": text.upper(), "other_id": other[6:22], "secret": text[23:],
    }  # fmt: skip
    assert actor_of_token(wrong.format(**parts)) is None
    if wrong.isascii() and wrong.isprintable():
        assert Api(wrong.format(**parts) or " ").get("/me").status == 401


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "Token {token}", "{token}", "bearer  {token} x"])
def test_other_authorization_schemes_are_refused(world: World, client: Any, header: str) -> None:
    value = header.format(token=make_token(world.submitter))
    assert client.get("/api/v1/me", headers={"Authorization": value}).status_code == 401


def test_token_acts_with_the_roles_of_now(world: World) -> None:
    text = make_token(world.submitter)
    Membership.objects.create(user=world.submitter.user, team=world.team, role=Role.ADMIN)
    Membership.objects.filter(user=world.submitter.user, role=Role.SUBMITTER).delete()
    actor = actor_of_token(text)
    assert actor and actor.roles == {"admin"} and actor.team == world.team and actor.auth_method == "token"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"scopes": []}, "invalid_input"),
        ({"scopes": ["root"]}, "invalid_input"),
        ({"scopes": "read"}, "invalid_input"),
        ({"days": 0}, "invalid_input"),
        ({"days": 367}, "invalid_input"),
        ({"days": 1.5}, "invalid_input"),
        ({"name": ""}, "invalid_input"),
        ({"name": "   "}, "invalid_input"),
        ({"name": "x" * 81}, "invalid_input"),
    ],
)
def test_bad_wishes_are_refused_with_the_field(
    world: World, api: Clients, body: dict[str, Any], code: str
) -> None:
    client = api(world.submitter)
    answer = client.post("/tokens", {"name": "notebook", "scopes": ["read"], **body})
    assert answer.status == 422 and answer.code == code and set(answer.error["details"]) == set(body)
    assert ApiToken.objects.count() == 1


def test_service_says_the_same_without_the_form(world: World) -> None:
    for changed, code in (
        ({"name": " "}, "name_missing"),
        ({"scopes": ["root"]}, "bad_scopes"),
        ({"days": 0}, "bad_expiry"),
    ):
        wish: dict[str, Any] = {"name": "x", "scopes": ["read"], "days": 1, **changed}
        with pytest.raises(InvalidInput) as refusal:
            create_token(actor=world.viewer, **wish)
        assert refusal.value.code == code


def test_token_cannot_make_a_wider_one(world: World, api: Clients) -> None:
    narrow = api(world.submitter, [Scope.READ, Scope.ADMIN])
    answer = narrow.post("/tokens", {"name": "wider", "scopes": ["read", "submit"]})
    assert answer.status == 403 and answer.code == "scope_missing"
    assert narrow.post("/tokens", {"name": "equal", "scopes": ["read"]}).status == 201


def test_token_that_only_reads_neither_makes_nor_ends_tokens(world: World, api: Clients) -> None:
    reader = api(world.submitter, [Scope.READ])
    for answer in (
        reader.post("/tokens", {"name": "equal", "scopes": ["read"]}),
        reader.delete(f"/tokens/{ApiToken.objects.get().pk}"),
    ):
        assert answer.status == 403 and "lacks the scope `admin`" in answer.error["message"]
    assert reader.get("/tokens").status == 200


def test_stopping_a_model_needs_release_and_taking_it_back_for_good_needs_admin(
    world: World, api: Clients
) -> None:
    approval = make_approval(world, make_revision(world.team))
    person = make_member(world.team, Role.ADMIN)
    stops, ends = api(person, [Scope.RELEASE]), api(person, [Scope.ADMIN])
    address, body = f"/approvals/{approval.pk}", {"reason": "wrong labels in production"}
    assert ends.post(f"{address}/suspend", body).code == "scope_missing"
    assert stops.post(f"{address}/revoke", body).code == "scope_missing"
    assert stops.post(f"{address}/suspend", body).status == 200
    assert ends.post(f"{address}/revoke", body).status == 200


def test_person_makes_fifty_tokens_an_hour_and_no_more(world: World, api: Clients) -> None:
    client = api(world.submitter)
    before = ApiToken.objects.count()
    for number in range(tokens.MOST_AN_HOUR - before):
        make_token(world.submitter, ["read"], days=number + 1)
    answer = client.post("/tokens", {"name": "one more", "scopes": ["read"]})
    assert (answer.status, answer.code) == (429, "throttled")
    assert (
        0 < int(answer.headers["Retry-After"]) <= 3601 and "made in the last hour" in answer.error["message"]
    )
    assert AccessEvent.objects.filter(verb="access.denied", actor_id=world.submitter.user.pk).count() == 1
    assert api(world.viewer, ["read"]).get("/me").status == 200  # nobody else is affected
    ApiToken.objects.filter(user=world.submitter.user).update(
        created_at=timezone.now() - timedelta(minutes=61)
    )
    assert client.post("/tokens", {"name": "one more", "scopes": ["read"]}).status == 201


def test_page_says_each_scope_in_words(world: World, client: Client) -> None:
    client.force_login(world.viewer.user)
    page = client.get("/tokens/").content.decode()
    for scope in Scope:
        words = f"<code>{scope}</code> {escape(scope.label)}"
        assert (words in page) == (scope != Scope.SERVE)


def test_scope_serve_is_for_service_accounts(world: World, api: Clients) -> None:
    answer = api(world.admin).post("/tokens", {"name": "x", "scopes": ["serve"]})
    assert answer.status == 403
    with pytest.raises(NotAllowed, match="service accounts"):
        create_token(actor=world.admin, name="x", scopes=["serve"], days=1)


def test_last_use_is_noted_at_most_once_a_minute(world: World) -> None:
    text = make_token(world.submitter)
    assert ApiToken.objects.get().last_used_at is None
    Api(text).get("/me")
    first = ApiToken.objects.get().last_used_at
    Api(text).get("/me")
    assert first is not None and ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - timedelta(seconds=61))
    Api(text).get("/me")
    last = ApiToken.objects.get().last_used_at
    assert last is not None and last >= first


# --- introspection, for inference servers ------------------------------------------------------------------------------


def test_introspection_tells_a_server_whose_token_it_is(world: World, api: Clients) -> None:
    server = api(world.server, [Scope.SERVE])
    text = make_token(world.submitter, ["read", "infer"])
    answer = server.post("/tokens/introspect", {"token": text})
    assert answer.status == 200
    assert answer.data == {
        "active": True, "token_id": text[6:22], "team": "acme", "user": "submitter", "scopes": ["infer", "read"],
    }  # fmt: skip


def test_introspection_of_a_bad_token_says_why_not(world: World, api: Clients) -> None:
    server = api(world.server, [Scope.SERVE])
    text = make_token(world.submitter)
    revoked(ApiToken.objects.get(public_id=text[6:22]))
    for token in (text, "nonsense", "assay_0123456789abcdef_" + "a" * 43):
        answer = server.post("/tokens/introspect", {"token": token})
        assert (answer.status, answer.data["active"]) == (200, False) and answer.data["reason"]


def test_service_account_without_a_team_can_read_nobodys_models(world: World, api: Clients) -> None:
    server = api(world.server, [Scope.SERVE, Scope.READ])
    answer = server.get("/models")
    assert answer.status == 403 and "not a member of any team" in answer.error["message"]


def test_token_of_a_person_without_a_team_sees_only_themselves(db: None) -> None:
    from tests.factories import make_user

    newcomer = Actor(user=make_user("newcomer"), team=None)
    client = Api(make_token(newcomer, ["read"]))
    assert client.get("/me").data == {"user": "newcomer", "team": None, "roles": [], "scopes": ["read"]}
    assert client.get("/models").status == 403


def test_two_teams_two_tokens_two_worlds(world: World) -> None:
    both = make_member(world.team, Role.VIEWER)
    Membership.objects.create(user=both.user, team=world.other.in_team, role=Role.ADMIN)
    elsewhere = Actor(user=both.user, team=world.other.in_team, roles=frozenset({"admin"}))
    assert Api(make_token(both)).get("/me").data["team"] == "acme"
    found = Api(make_token(elsewhere)).get("/me").data
    assert (found["team"], found["roles"]) == ("globex", ["admin"])
