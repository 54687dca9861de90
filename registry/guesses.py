"""What follows from a token that is not good: it is counted, refused, and kept in the access chain when it becomes many."""

from __future__ import annotations

import logging

from django.db import DatabaseError
from django.utils import timezone

from registry import attempts, audit
from registry.actors import Actor
from registry.attempts import LIMITS_REACHED, SECRETS_OF_TOKEN, TOKENS_FROM_ADDRESS, Limit, network_of
from registry.exceptions import TooManyAttempts
from registry.models import ApiToken
from registry.services.tokens import actor_of_token, public_id_of
from registry.words import gettext

logger = logging.getLogger(__name__)


def admit(text: str, address: str) -> Actor | None:
    """Who sends this token, None for nobody we know. Raises TooManyAttempts for one more bad token from `address`.

    1. a good token is let in, whatever came from its address before (many people share one); 2. a bad one waits while its
    address, or the token whose secret it guesses, is over the limit; 3. else it is counted.
    When the counters cannot be read the bad token is refused all the same, as if it were the first one.
    """
    actor = actor_of_token(text)
    if actor is not None:
        return actor
    try:
        _count(text, network_of(address))
    except DatabaseError:
        logger.warning("attempts_not_counted", exc_info=True)
    return None


def note_introspected(text: str) -> None:
    """An inference server asked about a bad token. Guesses of one token's secret are counted; the server is never limited."""
    try:
        public_id = _living(text)
        if public_id and not attempts.wait_s(SECRETS_OF_TOKEN, public_id):
            _note(SECRETS_OF_TOKEN, public_id, verb="access.secret_guessed", public_id=public_id)
    except DatabaseError:
        logger.warning("attempts_not_counted", exc_info=True)


def _count(text: str, network: str) -> None:
    wait = attempts.wait_s(TOKENS_FROM_ADDRESS, network)
    public_id = "" if wait else _living(text)
    if public_id:
        wait = attempts.wait_s(SECRETS_OF_TOKEN, public_id)
    if wait:
        raise TooManyAttempts(
            gettext(
                "Too many tokens from here were not valid, and this one is not either; none like it is looked at for "
                "%(wait)s seconds. Programs with a good token are not affected. Create a new one under Tokens.",
                wait=wait,
            ),
            retry_after_s=wait,
        )
    _note(TOKENS_FROM_ADDRESS, network, verb="access.tokens_refused")
    if public_id:
        _note(SECRETS_OF_TOKEN, public_id, verb="access.secret_guessed", public_id=public_id)


def _living(text: str) -> str:
    """The public id, if it is that of a token that works: guesses at others lead nowhere and need no counter each."""
    public_id = public_id_of(text)
    now = timezone.now()
    rows = ApiToken.objects.filter(public_id=public_id, revoked_at__isnull=True, expires_at__gt=now)
    return public_id if public_id and rows.exists() else ""


def _note(limit: Limit, subject: str, *, verb: str, **data: str) -> None:
    """Counts, and writes one event at the moment when the limit is reached. Many addresses fill no chain either."""
    if attempts.note(limit, subject) < limit.failures:
        return
    reached = attempts.note(LIMITS_REACHED, "")
    if reached <= LIMITS_REACHED.failures:
        audit.record_access(actor=None, verb=verb, failures=limit.failures, **data)
    elif reached == LIMITS_REACHED.failures + 1:
        audit.record_access(actor=None, verb="access.limits_often", events=LIMITS_REACHED.failures)
