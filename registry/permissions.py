"""May this person do this? Roles and scopes only; whether the *object* allows it now is asked in `policies.py`.

`check_*` raises NotAllowed with a sentence; `can_*` is its boolean for buttons. The whole table is a test.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from django.utils.translation import gettext_noop as _

from registry.actors import Actor
from registry.enums import Role, Scope
from registry.exceptions import NotAllowed
from registry.words import either, gettext, lowered


class Action(StrEnum):
    SUBMIT_MODEL = _("submit a model")
    ANSWER_REVIEW = _("answer a review")
    COMMENT_REVIEW = _("comment on a review")
    DECIDE_REVIEW = _("decide a review")
    MANAGE_TEMPLATES = _("change checklist templates")
    JUDGE_CODE = _("audit the code of a model")
    WAIVE_CODE_AUDIT = _("waive a code audit")
    ADD_GOLDEN_SET = _("add a golden set")
    RUN_MEASUREMENT = _("run a benchmark or an evaluation")
    CANCEL_JOB = _("cancel a run")
    MOVE_CHANNEL = _("move a channel")
    ROLL_BACK_CHANNEL = _("roll a channel back")
    SUSPEND_APPROVAL = _("suspend an approval")
    REVOKE_APPROVAL = _("revoke an approval")
    EDIT_POLICY = _("edit a policy")
    WAIVE = _("waive a violation")
    VERIFY_AUDIT = _("verify the audit log")
    EXPORT_RECORD = _("export the record")


@dataclass(frozen=True)
class Grant:
    roles: frozenset[Role]
    scope: Scope


def _grant(scope: Scope, *roles: Role) -> Grant:
    return Grant(frozenset(roles), scope)


_EVERYBODY = tuple(Role)

# What only the role admin may do needs the scope admin, and nothing else does (a test holds it).
GRANTS: dict[Action, Grant] = {
    Action.SUBMIT_MODEL: _grant(Scope.SUBMIT, Role.SUBMITTER, Role.ADMIN),
    Action.ANSWER_REVIEW: _grant(Scope.REVIEW, Role.REVIEWER, Role.SECURITY_AUDITOR, Role.LEGAL),
    Action.COMMENT_REVIEW: _grant(
        Scope.SUBMIT,
        Role.SUBMITTER,
        Role.REVIEWER,
        Role.SECURITY_AUDITOR,
        Role.LEGAL,
        Role.RELEASE_MANAGER,
        Role.ADMIN,
    ),
    # Whose vote a request asks for depends on its risk tier: reviews/votes.py.
    Action.DECIDE_REVIEW: _grant(Scope.REVIEW, Role.REVIEWER, Role.SECURITY_AUDITOR, Role.LEGAL),
    Action.MANAGE_TEMPLATES: _grant(Scope.ADMIN, Role.ADMIN),
    Action.JUDGE_CODE: _grant(Scope.REVIEW, Role.SECURITY_AUDITOR),
    Action.WAIVE_CODE_AUDIT: _grant(Scope.REVIEW, Role.SECURITY_AUDITOR, Role.ADMIN),
    Action.ADD_GOLDEN_SET: _grant(Scope.SUBMIT, Role.SUBMITTER, Role.REVIEWER, Role.ADMIN),
    Action.RUN_MEASUREMENT: _grant(
        Scope.SUBMIT, Role.SUBMITTER, Role.REVIEWER, Role.RELEASE_MANAGER, Role.ADMIN
    ),
    Action.CANCEL_JOB: _grant(Scope.SUBMIT, Role.SUBMITTER, Role.REVIEWER, Role.RELEASE_MANAGER, Role.ADMIN),
    Action.MOVE_CHANNEL: _grant(Scope.RELEASE, Role.RELEASE_MANAGER),
    Action.ROLL_BACK_CHANNEL: _grant(Scope.RELEASE, Role.RELEASE_MANAGER, Role.ADMIN),
    Action.SUSPEND_APPROVAL: _grant(Scope.RELEASE, Role.REVIEWER, Role.RELEASE_MANAGER, Role.ADMIN),
    Action.REVOKE_APPROVAL: _grant(Scope.ADMIN, Role.ADMIN),
    Action.EDIT_POLICY: _grant(Scope.ADMIN, Role.ADMIN),
    Action.WAIVE: _grant(Scope.REVIEW, Role.REVIEWER, Role.SECURITY_AUDITOR, Role.ADMIN),
    Action.VERIFY_AUDIT: _grant(Scope.READ, *_EVERYBODY),
    Action.EXPORT_RECORD: _grant(
        Scope.READ, Role.REVIEWER, Role.SECURITY_AUDITOR, Role.RELEASE_MANAGER, Role.ADMIN, Role.AUDITOR
    ),
}


def check(actor: Actor, action: Action) -> None:
    """Raises NotAllowed with a sentence when roles or scopes do not allow `action`."""
    grant = GRANTS[action]
    if not actor.has_role(*grant.roles):
        needed = either(sorted(lowered(role.label) for role in grant.roles))
        raise NotAllowed(
            gettext(
                "To %(action)s you need the role %(needed)s in this team. Ask an admin of the team.",
                action=gettext(action),
                needed=needed,
            ),
            code="role_missing",
            action=str(action),
        )
    if not actor.has_scope(grant.scope):
        raise NotAllowed(
            gettext(
                "To %(action)s a token needs the scope `%(scope)s`. Create one that has it under Tokens.",
                action=gettext(action),
                scope=grant.scope,
            ),
            code="scope_missing",
            action=str(action),
        )


def reason_against(actor: Actor, action: Action) -> str:
    """The sentence of `check`, or nothing: what a disabled button shows."""
    try:
        check(actor, action)
    except NotAllowed as refusal:
        return refusal.message
    return ""


def can(actor: Actor, action: Action) -> bool:
    return not reason_against(actor, action)
