"""Teams and the roles in them. Every change of who may do what is an audited act."""

from __future__ import annotations

import re

from django.db import IntegrityError, transaction

from registry import audit
from registry.actors import Actor
from registry.enums import Role
from registry.exceptions import Conflict, InvalidInput, NotAllowed, NotFound
from registry.models import Membership, Team, User
from registry.words import gettext

SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,58}[a-z0-9])?")
CONSOLE = "console"


def console_actor(user: User) -> Actor:
    """Who acts at the machine's own command line: whoever holds that holds the database, too."""
    return Actor(user=user, team=None, auth_method=CONSOLE)


def check_create_team(actor: Actor) -> None:
    """Raises NotAllowed: teams are made by superusers and at the console."""
    if not (actor.auth_method == CONSOLE or (actor.user.is_superuser and actor.scopes is None)):
        raise NotAllowed(gettext("Only a superuser can create a team."), code="role_missing")


def check_manage_members(actor: Actor, team: Team) -> None:
    """Raises NotAllowed: roles are given by superusers, the team's own admins and the console, by no token."""
    if actor.auth_method == CONSOLE or (actor.user.is_superuser and actor.scopes is None):
        return
    if actor.scopes is not None:
        raise NotAllowed(
            gettext("A token cannot change who has which role. Sign in for that."), code="session_needed"
        )
    if actor.team is None or actor.team.pk != team.pk or not actor.has_role(Role.ADMIN):
        raise NotAllowed(
            gettext("To change the members of %(team)s you need the role admin in it.", team=team.name),
            code="role_missing",
        )


@transaction.atomic
def create_team(*, actor: Actor, slug: str, name: str) -> Team:
    """Raises NotAllowed, InvalidInput (slug or name), Conflict (slug taken)."""
    check_create_team(actor)
    if not SLUG.fullmatch(slug):
        raise InvalidInput(
            gettext(
                "A team's short name has 1 to 60 lower-case letters, digits and '-'; '-' stands only between "
                "others."
            ),
            code="bad_slug",
            field="slug",
        )
    if not 1 <= len(name.strip()) <= 120:
        raise InvalidInput(
            gettext("Give the team a name of 1 to 120 characters."), code="name_missing", field="name"
        )
    try:
        with transaction.atomic():
            team = Team.objects.create(slug=slug, name=name.strip())
    except IntegrityError as error:
        raise Conflict(
            gettext("There is a team %(slug)s already. Choose another short name.", slug=slug),
            code="slug_taken",
        ) from error
    audit.record(actor=actor, team=team, verb="team.created", subject=team, name=team.name, slug=slug)
    return team


@transaction.atomic
def grant_role(*, actor: Actor, user: User, team: Team, role: str) -> Membership:
    """Gives `user` a role in `team`; a role that is there already stays and writes nothing.

    Raises NotAllowed, InvalidInput (unknown role, a service account).
    """
    check_manage_members(actor, team)
    if role not in Role.values:
        raise InvalidInput(
            gettext("A role is one of: %(role)s.", role=", ".join(Role.values)), code="bad_role", field="role"
        )
    if user.is_service_account:
        raise InvalidInput(
            gettext("A service account serves every team and has no role in any. Choose a person."),
            code="not_a_person",
            field="user",
        )
    membership, created = Membership.objects.get_or_create(user=user, team=team, role=role)
    if created:
        audit.record(
            actor=actor, team=team, verb="membership.granted", subject=membership,
            user=user.pk, role=membership.get_role_display(),
        )  # fmt: skip
    return membership


@transaction.atomic
def remove_role(*, actor: Actor, user: User, team: Team, role: str) -> None:
    """Takes a role away; the person's tokens lose it with their next request. Raises NotAllowed, NotFound."""
    check_manage_members(actor, team)
    membership = Membership.objects.select_for_update().filter(user=user, team=team, role=role).first()
    if membership is None:
        raise NotFound(
            gettext("%(user)s does not have that role in %(team)s.", user=user.display_name, team=team.name),
            code="no_such_role",
        )
    label = membership.get_role_display()
    audit.record(
        actor=actor, team=team, verb="membership.removed", subject=membership,
        user=user.pk, role=label,
    )  # fmt: skip
    membership.delete()
