"""Who may do what: role times action, and scope times action, as two tables written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.enums import Role, Scope
from registry.exceptions import NotAllowed
from registry.permissions import GRANTS, Action, can, check
from tests.factories import World, make_member

TABLE = """
                                 | viewer | submitter | reviewer | security_auditor | legal_reviewer | release_manager | admin | auditor
submit a model                   |        | yes       |          |                  |                |                 | yes   |
answer a review                  |        |           | yes      | yes              | yes            |                 |       |
comment on a review              |        | yes       | yes      | yes              | yes            | yes             | yes   |
change checklist templates       |        |           |          |                  |                |                 | yes   |
decide a review                  |        |           | yes      | yes              | yes            |                 |       |
audit the code of a model        |        |           |          | yes              |                |                 |       |
waive a code audit               |        |           |          | yes              |                |                 | yes   |
add a golden set                 |        | yes       | yes      |                  |                |                 | yes   |
run a benchmark or an evaluation |        | yes       | yes      |                  |                | yes             | yes   |
cancel a run                     |        | yes       | yes      |                  |                | yes             | yes   |
move a channel                   |        |           |          |                  |                | yes             |       |
roll a channel back              |        |           |          |                  |                | yes             | yes   |
suspend an approval              |        |           | yes      |                  |                | yes             | yes   |
revoke an approval               |        |           |          |                  |                |                 | yes   |
edit a policy                    |        |           |          |                  |                |                 | yes   |
waive a violation                |        |           | yes      | yes              |                |                 | yes   |
verify the audit log             | yes    | yes       | yes      | yes              | yes            | yes             | yes   | yes
export the record                |        |           | yes      | yes              |                | yes             | yes   | yes
"""  # noqa: E501 - a table is read in columns

SCOPES = {
    "submit a model": "submit",
    "answer a review": "review",
    "comment on a review": "submit",
    "change checklist templates": "admin",
    "decide a review": "review",
    "audit the code of a model": "review",
    "waive a code audit": "review",
    "add a golden set": "submit",
    "run a benchmark or an evaluation": "submit",
    "cancel a run": "submit",
    "move a channel": "release",
    "roll a channel back": "release",
    "suspend an approval": "release",
    "revoke an approval": "admin",
    "edit a policy": "admin",
    "waive a violation": "review",
    "verify the audit log": "read",
    "export the record": "read",
}


def cells() -> list[tuple[str, str, bool]]:
    head, *rows = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip("\n").splitlines()]
    return [
        (row[0], role, cell == "yes") for row in rows for role, cell in zip(head[1:], row[1:], strict=True)
    ]


def test_tables_name_every_action_and_every_role() -> None:
    assert {action for action, _, _ in cells()} == {str(action) for action in Action} == set(SCOPES)
    assert {role for _, role, _ in cells()} == set(Role.values)


def test_roles_may_do_what_the_table_says(world: World) -> None:
    for action, role, allowed in cells():
        assert can(world.by_role(role), Action(action)) == allowed, f"{role}: {action}"


def test_refusal_for_a_role_names_who_may(world: World) -> None:
    with pytest.raises(NotAllowed) as refusal:
        check(world.viewer, Action.ROLL_BACK_CHANNEL)
    assert refusal.value.code == "role_missing"
    assert refusal.value.message == (
        "To roll a channel back you need the role admin or release manager in this team. Ask an admin of the team."
    )


def test_token_needs_the_scope_beside_the_role(world: World) -> None:
    everybody = make_member(world.team, *Role)
    for action, scope in SCOPES.items():
        assert can(replace(everybody, scopes=frozenset({scope})), Action(action))
        others = frozenset(set(Scope.values) - {scope})
        narrow = replace(everybody, scopes=others)
        with pytest.raises(NotAllowed) as refusal:
            check(narrow, Action(action))
        assert refusal.value.code == "scope_missing" and f"`{scope}`" in refusal.value.message


def test_acts_of_admins_alone_need_the_scope_admin_and_no_others_do() -> None:
    for action, grant in GRANTS.items():
        assert (grant.roles == {Role.ADMIN}) == (grant.scope == Scope.ADMIN), action


def test_scope_without_the_role_opens_nothing(world: World) -> None:
    wide = replace(world.viewer, scopes=frozenset(Scope.values))
    assert [str(action) for action in Action if can(wide, action)] == ["verify the audit log"]


def test_roles_add_up(world: World) -> None:
    both = make_member(world.team, Role.SUBMITTER, Role.RELEASE_MANAGER)
    assert (
        can(both, Action.SUBMIT_MODEL)
        and can(both, Action.MOVE_CHANNEL)
        and not can(both, Action.DECIDE_REVIEW)
    )


def test_roles_of_another_team_do_not_count(world: World) -> None:
    from registry.actors import actor_for

    elsewhere = actor_for(world.other.user, world.team)
    assert [str(action) for action in Action if can(elsewhere, action)] == []
