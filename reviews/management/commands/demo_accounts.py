"""`manage.py demo_accounts`: the people of the demonstration; prints passwords and tokens as JSON."""

from __future__ import annotations

import json
import secrets
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from registry.actors import actor_for
from registry.models import User
from registry.services.teams import CONSOLE, console_actor, create_team, grant_role
from registry.services.tokens import create_token
from reviews.demo.accounts import PEOPLE, TEAMS, Person

TOKEN_DAYS = 30


class Command(BaseCommand):
    help = "Makes the sample accounts of the demonstration, in an empty database only."

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.PRODUCTION:
            raise CommandError("Sample accounts are not made in production. Use manage.py createsuperuser.")
        if User.objects.filter(is_service_account=False).exists():
            raise CommandError(
                "This database has accounts already. The demonstration starts with a fresh data folder."
            )
        self.stdout.write(json.dumps(make_accounts()))


@transaction.atomic
def make_accounts() -> dict[str, dict[str, str]]:
    """{"passwords": {role: password}, "tokens": {role: token}}, all random."""
    passwords = {person.role: secrets.token_urlsafe(12) for person in PEOPLE}
    users = {person.role: _user(person, passwords[person.role]) for person in PEOPLE}
    founder = console_actor(users["admin"])
    teams = {slug: create_team(actor=founder, slug=slug, name=name) for slug, name in TEAMS.items()}
    tokens = {}
    for person in PEOPLE:
        user, team = users[person.role], teams[person.team]
        for role in person.roles:
            grant_role(actor=founder, user=user, team=team, role=role)
        owner = actor_for(user, team, auth_method=CONSOLE)
        _, tokens[person.role] = create_token(
            actor=owner, name="demonstration", scopes=person.scopes, days=TOKEN_DAYS
        )
    return {"passwords": passwords, "tokens": tokens}


def _user(person: Person, password: str) -> User:
    first, _, last = person.name.partition(" ")
    return User.objects.create_user(
        person.role,
        password=password,
        first_name=first,
        last_name=last,
        is_staff=person.staff,
        is_superuser=person.staff,
    )
