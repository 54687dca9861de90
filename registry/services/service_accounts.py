"""Accounts of programs. Each has one token in one file, which is renewed here before it ends."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from registry.enums import Scope
from registry.exceptions import Conflict
from registry.models import ApiToken, User
from registry.secret_files import write_secret
from registry.services.teams import console_actor
from registry.services.tokens import MAX_DAYS, actor_of_token, create_token, revoke_token
from registry.words import gettext

RENEW_BEFORE = timedelta(days=30)


def ensure_service_token(*, username: str, path: Path) -> bool:
    """Makes sure that `path` holds a good token (scope `serve`) of the service account `username`.

    1. the account, with no password; 2. a token in the file that is good for another 30 days stays; 3. else
    a new one is written (mode 0600) and the account's earlier tokens are revoked. Returns whether a new one
    was written.
    Raises Conflict when the name belongs to a person, OSError when the file cannot be written.
    """
    with transaction.atomic():
        user, created = User.objects.get_or_create(username=username, defaults={"is_service_account": True})
        if not user.is_service_account:
            raise Conflict(
                gettext(
                    "%(username)s is a person's account. Choose another name for the program.",
                    username=username,
                ),
                code="not_a_program",
            )
        if created:
            user.set_unusable_password()
            user.save(update_fields=["password"])
        if _still_good(user, path):
            return False
        actor = console_actor(user)
        old = list(ApiToken.objects.filter(user=user, revoked_at__isnull=True).values_list("pk", flat=True))
        _, secret = create_token(
            actor=actor, name=f"{username} on this machine", scopes=[Scope.SERVE], days=MAX_DAYS
        )
        for pk in old:
            revoke_token(actor=actor, token_pk=pk)
        # Last, so that a file that cannot be written leaves the old token as it was.
        write_secret(path, secret)
    return True


def _still_good(user: User, path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return False
    actor = actor_of_token(text)
    if actor is None or actor.user.pk != user.pk or not actor.has_scope(Scope.SERVE):
        return False
    expires_at = ApiToken.objects.values_list("expires_at", flat=True).get(public_id=actor.token_id)
    return bool(expires_at - timezone.now() > RENEW_BEFORE)
