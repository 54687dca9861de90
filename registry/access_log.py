"""Sign-ins, sign-outs, failed sign-ins and refusals, into the access chain. Names typed in failed ones are kept as a digest."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed

from registry import attempts, audit
from registry.actors import Actor
from registry.canonical import sha256_text
from registry.models import User
from registry.words import english


def _signed_in(user: User, **kwargs: Any) -> None:
    audit.record_access(actor=Actor(user=user, team=None), verb="session.signed_in")


def _signed_out(user: User | None, **kwargs: Any) -> None:
    if user:
        audit.record_access(actor=Actor(user=user, team=None), verb="session.signed_out")


def _failed(credentials: dict[str, Any], **kwargs: Any) -> None:
    name = str(credentials.get("username", ""))
    audit.record_access(actor=None, verb="session.sign_in_failed", username_sha256=sha256_text(name))


def note_refusal(actor: Actor, sentence: str, code: str) -> None:
    """A denied attempt of somebody known: who tried what. Of one person so many in a while, then only that there are more."""
    limit = attempts.REFUSALS_OF_USER
    count = attempts.note(limit, str(actor.user.pk))
    if count <= limit.failures:
        audit.record_access(actor=actor, verb="access.denied", action=english(sentence)[:300], code=code)
    elif count == limit.failures + 1:
        audit.record_access(actor=actor, verb="access.denied_often", refusals=limit.failures)


def connect() -> None:
    user_logged_in.connect(_signed_in, dispatch_uid="access.in", weak=False)
    user_logged_out.connect(_signed_out, dispatch_uid="access.out", weak=False)
    user_login_failed.connect(_failed, dispatch_uid="access.failed", weak=False)
