"""API tokens: made, looked up, revoked. `assay_<public id>_<secret>`; only SHA-256 of the secret is kept."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from registry import audit
from registry.actors import Actor
from registry.enums import Scope
from registry.exceptions import InvalidInput, NotAllowed, NotFound, TooManyAttempts
from registry.hot_path import find_token
from registry.models import ApiToken, Team, User
from registry.words import gettext

_TOKEN = re.compile(r"assay_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
MAX_DAYS = 366
LAST_USED_EVERY = timedelta(minutes=1)
MOST_AN_HOUR = 50


@transaction.atomic
def create_token(
    *,
    actor: Actor,
    name: str,
    scopes: Iterable[str],
    days: int,
    user: User | None = None,
    team: Team | None = None,
) -> tuple[ApiToken, str]:
    """Returns (row, the token itself): the only time anybody sees it.

    Raises InvalidInput for an empty name, unknown scopes or a life outside 1-366 days, NotAllowed for a token wider than
    the one that asks, TooManyAttempts for a person's 51st in an hour.
    """
    wanted = sorted(set(scopes))
    unknown = [scope for scope in wanted if scope not in Scope.values]
    if not name.strip():
        raise InvalidInput(
            gettext("Give the token a name that says where it will be used."), code="name_missing"
        )
    if unknown or not wanted:
        raise InvalidInput(
            gettext("Choose at least one scope of: %(scope)s.", scope=", ".join(Scope.values)),
            code="bad_scopes",
            unknown=unknown,
        )
    if not 1 <= days <= MAX_DAYS:
        raise InvalidInput(
            gettext(
                "A token lives 1 to %(max_days)s days; %(days)s were asked.", max_days=MAX_DAYS, days=days
            ),
            code="bad_expiry",
        )
    owner = user or actor.user
    if Scope.SERVE in wanted and not owner.is_service_account:
        raise NotAllowed(
            gettext("The scope `serve` is for service accounts of inference servers."), code="service_only"
        )
    if actor.scopes is not None and not set(wanted) <= actor.scopes:
        raise NotAllowed(
            gettext("A token cannot make another one that may do more than itself."), code="scope_missing"
        )
    _check_pace(owner)
    public_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        public_id=public_id,
        digest=hashlib.sha256(secret.encode()).hexdigest(),
        name=name.strip()[:80],
        user=owner,
        team=team or actor.team,
        scopes=wanted,
        expires_at=timezone.now() + timedelta(days=days),
    )
    audit.record(
        actor=actor, team=token.team, verb="token.created", subject=token, name=token.name, scopes=wanted,
        public_id=public_id, owner=owner.pk, expires_at=token.expires_at.isoformat(),
    )  # fmt: skip
    return token, f"assay_{public_id}_{secret}"


def _check_pace(owner: User) -> None:
    """Raises TooManyAttempts. The rows themselves are the count: a few in parallel may slip by."""
    hour = timedelta(hours=1)
    made = ApiToken.objects.filter(user=owner, created_at__gt=timezone.now() - hour)
    if made.count() >= MOST_AN_HOUR:
        oldest = made.order_by("created_at").values_list("created_at", flat=True)[0]
        wait = max(1, int((oldest + hour - timezone.now()).total_seconds()) + 1)
        raise TooManyAttempts(
            gettext(
                "%(tokens)s tokens were made in the last hour, so no other is made for %(minutes)s minutes. Keep one token "
                "for each program, and use it again.",
                tokens=MOST_AN_HOUR,
                minutes=wait // 60 + 1,
            ),
            retry_after_s=wait,
        )


@transaction.atomic
def revoke_token(*, actor: Actor, token_pk: int) -> ApiToken:
    """Ends one of the actor's own tokens. Raises NotFound for anybody else's."""
    token = ApiToken.objects.select_for_update().filter(pk=token_pk, user=actor.user).first()
    if token is None:
        raise NotFound(gettext("You have no such token."))
    if token.revoked_at is None:
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])
        audit.record(actor=actor, team=token.team, verb="token.revoked", subject=token, name=token.name)
    return token


def public_id_of(text: str) -> str:
    """The public part of what has the form of a token, else nothing."""
    match = _TOKEN.fullmatch(text)
    return match[1] if match else ""


def actor_of_token(text: str) -> Actor | None:
    """The actor behind a token, or None for one that is unknown, wrong, expired, revoked, or whose owner has left.

    One query: the token with owner, team, and the owner's roles in that team as they are now.
    """
    match = _TOKEN.fullmatch(text)
    if not match:
        return None
    public_id, secret = match.groups()
    now = timezone.now()
    token = find_token(public_id, now - LAST_USED_EVERY)
    given = hashlib.sha256(secret.encode()).hexdigest()
    if token is None or not hmac.compare_digest(given, token.digest) or not token.user.is_active:
        return None
    if token.team is not None and not token.roles and not token.user.is_service_account:
        return None  # the owner left the team: the token left with them
    if token.unused_lately:  # noted at most once a minute: the hot path must not write on every request
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return Actor(
        user=token.user,
        team=token.team,
        roles=token.roles,
        auth_method="token",
        token_id=public_id,
        scopes=frozenset(token.scopes),
    )
