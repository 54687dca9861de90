"""How often a secret may be tried wrongly: failures counted by key, in a table that every web process reads.

Only failures are counted, and what is right is never refused for them (docs/adr/0013-limits-of-attempts.md): a secret of 256
bits cannot be guessed at any speed, so the limits bound what guessing costs us and make it visible. Passwords are another
matter: there even the right one is refused while its account is over the limit.

A key is a digest with the installation's secret: the table holds no address and no name. Past its limit a key is only read,
so an attack writes at most `failures` rows a window and key.
"""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import F
from django.utils import timezone
from django.utils.crypto import salted_hmac

from registry.models import FailedAttempts


@dataclass(frozen=True)
class Limit:
    """`failures` in a `window` that starts with the first of them."""

    name: str
    failures: int
    window: timedelta


WINDOW = timedelta(minutes=5)
# Some thirty programs with an expired token may sit behind one address before anybody else notices.
TOKENS_FROM_ADDRESS = Limit("tokens from an address", 30, WINDOW)
SECRETS_OF_TOKEN = Limit("secrets of a token", 20, WINDOW)
PASSWORD_OF_USER = Limit("current password", 10, WINDOW)
# Not attempts, but counted in the same way: how many refusals the access chain keeps.
REFUSALS_OF_USER = Limit("refusals of a person", 100, WINDOW)
LIMITS_REACHED = Limit("limits reached", 60, WINDOW)


def network_of(address: str) -> str:
    """The address that a limit counts by. One IPv6 customer has 2**64 of them, so these count as one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def wait_s(limit: Limit, subject: str) -> int:
    """Seconds until the next attempt is open, 0 now. One query by primary key."""
    row = FailedAttempts.objects.filter(key=_key(limit, subject), count__gte=limit.failures).first()
    if row is None:
        return 0
    left = (row.since + limit.window - timezone.now()).total_seconds()
    return max(0, math.ceil(left))


def note(limit: Limit, subject: str) -> int:
    """Counts one failure; returns how many there are in this window now, this one included."""
    key, now = _key(limit, subject), timezone.now()
    living = FailedAttempts.objects.filter(key=key, since__gt=now - limit.window)
    if living.update(count=F("count") + 1):
        return living.values_list("count", flat=True).first() or 1
    FailedAttempts.objects.filter(since__lt=now - 2 * WINDOW).delete()
    FailedAttempts.objects.update_or_create(key=key, defaults={"count": 1, "since": now})
    return 1


def forgive(limit: Limit, subject: str) -> None:
    FailedAttempts.objects.filter(key=_key(limit, subject)).delete()


def _key(limit: Limit, subject: str) -> str:
    return salted_hmac("registry.attempts", f"{limit.name}:{subject}", algorithm="sha256").hexdigest()
