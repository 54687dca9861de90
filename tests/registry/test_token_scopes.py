"""The migration that split `read`: tokens keep what they could do, gain nothing, and the audit log says so."""

from __future__ import annotations

import importlib

import pytest
from django.apps import apps

from registry import verification
from registry.models import ApiToken, AuditEvent
from tests.factories import Api, World, make_token

migration = importlib.import_module("registry.migrations.0106_token_scopes")


def migrate() -> None:
    migration.keep_powers(apps, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["read"], ["artifacts", "read"]),
        (["infer", "read"], ["artifacts", "infer", "read"]),
        (["infer"], ["infer"]),
        (["serve"], ["serve"]),
        (["read", "review"], ["artifacts", "read", "review"]),
        (["read", "release"], ["artifacts", "read", "release"]),
        (["release", "review"], ["admin", "release", "review"]),
        (["artifacts", "read"], ["artifacts", "read"]),
        ([], []),
    ],
)
def test_scopes_are_what_the_token_could_do(before: list[str], after: list[str]) -> None:
    assert migration.widened(before) == after
    assert migration.widened(after) == after


def test_old_tokens_go_on_working_and_the_log_agrees_with_the_table(world: World) -> None:
    text = make_token(world.viewer, ["read"])
    make_token(world.admin, ["infer"])
    assert Api(text).get("/hub/acme/x/resolve/main/config.json").status == 403
    migrate()
    assert Api(text).get("/hub/acme/x/resolve/main/config.json").status == 404
    event = AuditEvent.objects.latest("seq")
    token = ApiToken.objects.get(user=world.viewer.user)
    assert (event.verb, event.object_id, event.team_id) == ("token.scopes_changed", token.pk, world.team.pk)
    assert AuditEvent.objects.filter(verb="token.scopes_changed").count() == 1
    assert verification.verify_chain("auditevent").ok
