"""Teams, roles and the accounts of programs: who may change them, and that each change is on record."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from registry import audit
from registry.enums import Role, Scope
from registry.exceptions import Conflict, InvalidInput, NotAllowed, NotFound
from registry.models import ApiToken, AuditEvent, Membership, User
from registry.services.service_accounts import ensure_service_token
from registry.services.teams import console_actor, create_team, grant_role, remove_role
from registry.services.tokens import actor_of_token
from reviews.demo.accounts import PEOPLE
from tests.factories import World, make_user

pytestmark = pytest.mark.django_db


def verbs() -> list[str]:
    return list(AuditEvent.objects.order_by("seq").values_list("verb", flat=True))


def test_console_creates_a_team_and_the_log_says_so(world: World) -> None:
    team = create_team(actor=console_actor(world.admin.user), slug="new-team", name=" New team ")
    assert team.name == "New team"
    event = AuditEvent.objects.latest("seq")
    assert (event.verb, event.team_id, event.object_id) == ("team.created", team.pk, team.pk)


@pytest.mark.parametrize("slug", ["", "Acme", "a b", "-a", "a-", "a" * 61, "a/b"])
def test_bad_short_name_is_refused(world: World, slug: str) -> None:
    with pytest.raises(InvalidInput):
        create_team(actor=console_actor(world.admin.user), slug=slug, name="Name")


def test_taken_short_name_is_a_conflict(world: World) -> None:
    with pytest.raises(Conflict):
        create_team(actor=console_actor(world.admin.user), slug="acme", name="Acme again")


def test_team_admin_creates_no_team(world: World) -> None:
    with pytest.raises(NotAllowed):
        create_team(actor=world.admin, slug="mine", name="Mine")


def test_admin_grants_and_removes_a_role_in_the_own_team(world: World) -> None:
    newcomer = make_user("newcomer", first_name="New", last_name="Comer")
    grant_role(actor=world.admin, user=newcomer, team=world.team, role=Role.REVIEWER)
    grant_role(actor=world.admin, user=newcomer, team=world.team, role=Role.REVIEWER)
    assert verbs().count("membership.granted") == 1
    remove_role(actor=world.admin, user=newcomer, team=world.team, role=Role.REVIEWER)
    assert not Membership.objects.filter(user=newcomer).exists()
    body = json.loads(AuditEvent.objects.latest("seq").body)
    assert body["verb"] == "membership.removed"
    assert (body["data"]["user"], body["data"]["role"]) == (newcomer.pk, "Reviewer")
    assert "removed New Comer as Reviewer" in audit.shown([AuditEvent.objects.latest("seq")])[0].sentence
    with pytest.raises(NotFound):
        remove_role(actor=world.admin, user=newcomer, team=world.team, role=Role.REVIEWER)


def test_others_change_no_roles(world: World) -> None:
    newcomer = make_user()
    by_token = replace(world.admin, auth_method="token", scopes=frozenset(Scope.values))
    elsewhere = replace(world.admin, team=None)
    for actor in (world.reviewer, world.release_manager, by_token, elsewhere):
        with pytest.raises(NotAllowed):
            grant_role(actor=actor, user=newcomer, team=world.team, role=Role.REVIEWER)
    assert not Membership.objects.filter(user=newcomer).exists()
    assert "membership.granted" not in verbs()


def test_unknown_role_and_service_account_are_refused(world: World) -> None:
    with pytest.raises(InvalidInput):
        grant_role(actor=world.admin, user=make_user(), team=world.team, role="king")
    with pytest.raises(InvalidInput):
        program = make_user(is_service_account=True)
        grant_role(actor=world.admin, user=program, team=world.team, role=Role.REVIEWER)


# --- the accounts of programs ------------------------------------------------------------------------------------------


def test_service_token_is_made_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "tokens" / "inference"
    assert ensure_service_token(username="inference-server", path=path)
    first = path.read_text(encoding="utf-8").strip()
    actor = actor_of_token(first)
    assert (
        actor
        and actor.scopes == frozenset({str(Scope.SERVE)})
        and actor.user.is_service_account
        and actor.team is None
    )
    assert not actor.user.has_usable_password()
    assert path.stat().st_mode & 0o777 == 0o600
    assert not ensure_service_token(username="inference-server", path=path)
    assert path.read_text(encoding="utf-8").strip() == first


@pytest.mark.parametrize("trouble", ["expires soon", "revoked", "file lost", "file garbled"])
def test_service_token_is_renewed_when_it_is_no_longer_good(tmp_path: Path, trouble: str) -> None:
    path = tmp_path / "inference"
    ensure_service_token(username="inference-server", path=path)
    first = path.read_text(encoding="utf-8").strip()
    now = timezone.now()
    if trouble == "expires soon":
        ApiToken.objects.update(expires_at=now + timedelta(days=29))
    elif trouble == "revoked":
        ApiToken.objects.update(revoked_at=now)
    elif trouble == "file lost":
        path.unlink()
    else:
        path.write_bytes(b"\xff\xfe")
    assert ensure_service_token(username="inference-server", path=path)
    second = path.read_text(encoding="utf-8").strip()
    assert second != first and actor_of_token(second)
    assert actor_of_token(first) is None


def test_token_file_that_cannot_be_written_leaves_the_old_token(tmp_path: Path) -> None:
    path = tmp_path / "inference"
    ensure_service_token(username="inference-server", path=path)
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("service_account", token_file=tmp_path / "file" / "below")
    assert actor_of_token(path.read_text(encoding="utf-8").strip())


def test_service_account_does_not_take_a_persons_name(world: World, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="person"):
        call_command("service_account", name=world.reviewer.user.username, token_file=tmp_path / "t")


# --- the demo's people ---------------------------------------------------------------------------------------------------


def test_demo_accounts_can_do_what_the_story_needs() -> None:
    out = StringIO()
    call_command("demo_accounts", stdout=out)
    given = json.loads(out.getvalue())
    assert set(given["tokens"]) == set(given["passwords"]) == {person.role for person in PEOPLE}
    for person in PEOPLE:
        actor = actor_of_token(given["tokens"][person.role])
        assert actor and actor.in_team.slug == person.team
        assert (actor.roles, actor.scopes) == (frozenset(person.roles), frozenset(person.scopes))
        assert User.objects.get(username=person.role).check_password(given["passwords"][person.role])
    assert verbs().count("membership.granted") == sum(len(person.roles) for person in PEOPLE)
    with pytest.raises(CommandError, match="accounts already"):
        call_command("demo_accounts")


def test_demo_accounts_are_refused_in_production(settings: Any) -> None:
    settings.PRODUCTION = True
    with pytest.raises(CommandError, match="production"):
        call_command("demo_accounts")
    assert not User.objects.exists()
