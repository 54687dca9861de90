"""A right that has ended opens no door any more, at the very next request: web session, API token, gateway."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from registry.actors import Actor
from registry.enums import Scope
from registry.models import ApiToken, Membership, User
from tests.factories import Api, World

Ending = Callable[[Actor], object]


def left_the_team(actor: Actor) -> object:
    return Membership.objects.filter(user=actor.user).delete()


def deactivated(actor: Actor) -> object:
    return User.objects.filter(pk=actor.user.pk).update(is_active=False)


def tokens_revoked(actor: Actor) -> object:
    return ApiToken.objects.filter(user=actor.user).update(revoked_at=timezone.now())


def tokens_expired(actor: Actor) -> object:
    return ApiToken.objects.filter(user=actor.user).update(expires_at=timezone.now())


# Per ending: page in a session, API in a session, API with a token, gateway with a token.
ENDINGS: list[tuple[Ending, tuple[int, int, int, int]]] = [
    (left_the_team, (403, 403, 401, 401)),
    (deactivated, (302, 401, 401, 401)),
    (tokens_revoked, (200, 200, 401, 401)),
    (tokens_expired, (200, 200, 401, 401)),
]


@pytest.mark.parametrize(("end", "after"), ENDINGS, ids=[end.__name__ for end, _ in ENDINGS])
def test_every_door_follows_the_end_of_a_right(
    world: World, end: Ending, after: tuple[int, int, int, int]
) -> None:
    session, token = Client(raise_request_exception=False), Api.of(world.release_manager)
    session.force_login(world.release_manager.user)

    def doors() -> tuple[int, int, int, int]:
        return (
            session.get("/models/").status_code,
            session.get("/api/v1/models").status_code,
            token.get("/models").status,
            token.get("/hub/api/whoami-v2").status,
        )

    assert doors() == (200, 200, 200, 200)
    end(world.release_manager)
    assert doors() == after


def test_service_accounts_end_with_their_account_and_their_token(world: World) -> None:
    for end in (deactivated, tokens_revoked, tokens_expired):
        User.objects.filter(pk=world.server.user.pk).update(is_active=True)
        api = Api.of(world.server, [Scope.READ])
        assert api.get("/models").status == 403  # known, but of no team; 401 is: not known
        end(world.server)
        assert api.get("/models").status == 401
