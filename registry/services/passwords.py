"""Changing one's own password: the current one is asked for, and may be wrong only so often."""

from __future__ import annotations

from django.db import transaction

from registry import attempts, audit
from registry.actors import Actor
from registry.attempts import PASSWORD_OF_USER
from registry.exceptions import NotAllowed, TooManyAttempts
from registry.models import User
from registry.words import gettext


def check_can_change(actor: Actor) -> None:
    """Raises NotAllowed: a token changes no password, and an account without one has none to change."""
    if actor.scopes is not None:
        raise NotAllowed(
            gettext("A token cannot change a password. Sign in for that."), code="session_needed"
        )
    if not actor.user.has_usable_password():
        raise NotAllowed(
            gettext("This account signs in without a password of Assay's, so there is none to change here."),
            code="no_password",
        )


def is_current(*, user: User, given: str) -> bool:
    """Whether that is the password. Raises TooManyAttempts before looking at the eleventh wrong one in five minutes.

    Counted before it is compared, so that parallel guesses cannot pass together; a right one forgives. When the counter
    cannot be read or written nothing is compared (the database's error goes up): who holds a stolen session must not get
    free guesses from a database in trouble.
    """
    key, limit = str(user.pk), PASSWORD_OF_USER
    wait = attempts.wait_s(limit, key)
    if not wait and attempts.note(limit, key) <= limit.failures:
        if user.check_password(given):
            attempts.forgive(limit, key)
            return True
        wait = attempts.wait_s(limit, key)
        if not wait:
            return False
        audit.record_access(
            actor=Actor(user=user, team=None), verb="session.password_refused", failures=limit.failures
        )
    raise TooManyAttempts(
        gettext(
            "The current password was wrong too often, so none is tried for %(minutes)s minutes. Wait, then try again; an "
            "admin of your team can set a new password.",
            minutes=wait // 60 + 1,
        ),
        retry_after_s=max(1, wait),
    )


@transaction.atomic
def change_password(*, actor: Actor, new: str) -> None:
    """Sets it; every other session of this person ends with its next request. Tokens stay: they are revoked one by one.

    The caller has asked for the current one (`is_current`) and has had the new one validated. Raises NotAllowed.
    """
    check_can_change(actor)
    actor.user.set_password(new)
    actor.user.save(update_fields=["password"])
    audit.record(actor=actor, verb="user.password_changed", subject=actor.user)
