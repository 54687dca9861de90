"""A right that has ended opens no door any more, at the very next request: session, token, gateway, inference, jobs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client
from django.utils import timezone

from registry import jobs
from registry.actors import Actor
from registry.enums import JobKind, JobState, Role, Scope
from registry.models import ApiToken, AuditEvent, ChannelMove, Membership, User
from registry.services.channels import move_channel
from tests.factories import (
    MODEL_ID,
    Api,
    World,
    make_approval,
    make_job,
    make_member,
    make_revision,
    make_token,
)

Ending = Callable[[Actor], object]


def left_the_team(actor: Actor) -> object:
    return Membership.objects.filter(user=actor.user).delete()


def deactivated(actor: Actor) -> object:
    return User.objects.filter(pk=actor.user.pk).update(is_active=False)


def tokens_revoked(actor: Actor) -> object:
    return ApiToken.objects.filter(user=actor.user).update(revoked_at=timezone.now())


def tokens_expired(actor: Actor) -> object:
    return ApiToken.objects.filter(user=actor.user).update(expires_at=timezone.now())


def demoted(actor: Actor) -> object:
    return Membership.objects.filter(user=actor.user).update(role=Role.VIEWER)


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


def channel_of(world: World) -> ChannelMove:
    approval = make_approval(world, make_revision(world.team))
    return move_channel(
        actor=world.release_manager, model=approval.model, name="production", approval=approval, reason="first",
    )  # fmt: skip


def introspected(server: Api, token: str) -> bool:
    """What an inference server is told when it asks next: after 30 seconds at most (tests/server/test_auth.py)."""
    return bool(server.post("/tokens/introspect", {"token": token}).data["active"])


@pytest.mark.parametrize(("end", "after"), ENDINGS, ids=[end.__name__ for end, _ in ENDINGS])
def test_inference_servers_are_told_of_the_end(
    world: World, end: Ending, after: tuple[int, int, int, int]
) -> None:
    server, token = Api.of(world.server, [Scope.SERVE]), make_token(world.release_manager)
    assert introspected(server, token)
    end(world.release_manager)
    assert not introspected(server, token)


def test_demoted_person_keeps_reading_and_loses_the_act_in_session_and_token(world: World) -> None:
    move = channel_of(world)
    session, token = Client(raise_request_exception=False), Api.of(world.release_manager)
    session.force_login(world.release_manager.user)
    page, address = f"/channels/{move.channel_id}/move/", f"/models/{MODEL_ID}/channels/production/moves"

    def doors() -> tuple[int, ...]:
        return (
            session.post(page).status_code,
            token.post(address).status,
            session.get(f"/channels/{move.channel_id}/").status_code,
            token.get("/models").status,
        )

    assert doors() == (422, 422, 200, 200)
    Membership.objects.filter(user=world.release_manager.user).update(role=Role.VIEWER)
    assert doors() == (403, 403, 200, 200)


def test_person_who_changes_teams_sees_the_new_one_and_nothing_of_the_old(world: World) -> None:
    """The session follows, although it had chosen the old team; a token belongs to one team and ends with it."""
    move = channel_of(world)
    both = make_member(world.team, Role.RELEASE_MANAGER)
    Membership.objects.create(user=both.user, team=world.other.in_team, role=Role.RELEASE_MANAGER)
    session, token = Client(raise_request_exception=False), Api.of(both)
    session.force_login(both.user)
    session.post("/teams/switch/", {"team": "acme"})
    old = f"/channels/{move.channel_id}/"
    assert (session.get(old).status_code, token.get("/models").status) == (200, 200)
    Membership.objects.filter(user=both.user, team=world.team).delete()
    assert (session.get(old).status_code, token.get("/models").status) == (404, 401)
    assert session.get("/channels/").status_code == 200
    assert session.post("/teams/switch/", {"team": "acme"}).status_code == 404


@pytest.mark.parametrize(("end", "begun"), [(left_the_team, False), (deactivated, False), (demoted, True)])
def test_queued_job_of_somebody_who_is_gone_is_not_begun(
    world: World, monkeypatch: pytest.MonkeyPatch, end: Ending, begun: bool
) -> None:
    """A job is the team's: it outlives a change of roles, and nothing is done for who may not even see the team."""
    seen: list[int] = []
    handler = jobs.Kind(lambda running: seen.append(running.job.pk), "cpu")
    monkeypatch.setitem(jobs.KINDS, JobKind.BENCHMARK, handler)
    job = make_job(world.submitter)
    end(world.submitter)
    jobs.run(job.pk)
    job.refresh_from_db()
    assert bool(seen) == begun
    if not begun:
        assert (job.state, job.error_code) == (JobState.FAILED, "requester_left")
        assert "who asked for it, has left the team Acme" in job.error
        assert AuditEvent.objects.filter(verb="job.failed", object_id=job.pk).exists()


def test_service_accounts_end_with_their_account_and_their_token(world: World) -> None:
    for end in (deactivated, tokens_revoked, tokens_expired):
        User.objects.filter(pk=world.server.user.pk).update(is_active=True)
        api = Api.of(world.server, [Scope.READ])
        assert api.get("/models").status == 403  # known, but of no team; 401 is: not known
        end(world.server)
        assert api.get("/models").status == 401
