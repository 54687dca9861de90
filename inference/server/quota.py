"""How fast one token may call. Token buckets, in this process; a hard limit belongs in the proxy as well."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from inference.server.errors import ApiError

_MAX_CALLERS = 10_000


class Bucket:
    """`rate` units a second flow in, up to `size`; taking may go below zero and is then refused until it is
    made up."""

    def __init__(self, rate: float, size: float, now: float) -> None:
        self._rate, self._size = rate, size
        self._level, self._at = size, now

    def wait_s(self, now: float) -> float:
        """Seconds until there is something to take; 0 now."""
        self._level = min(self._size, self._level + (now - self._at) * self._rate)
        self._at = now
        return 0.0 if self._level > 0 else -self._level / self._rate + 0.001

    def take(self, units: float) -> None:
        self._level -= units


class Guesses:
    """How many tokens that turn out to be none one address may have checked: 30 at once, then one a second.

    Only tokens that this process does not know as good wait: what was good a moment ago is asked about as ever, so a program
    that guesses (or has an expired token) locks out nobody who is already here. Counted by process; the registry counts, too.
    """

    RATE, BURST = 1.0, 30.0

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._addresses: OrderedDict[str, Bucket] = OrderedDict()

    def check(self, address: str) -> None:
        """Raises ApiError 429 with Retry-After."""
        bucket = self._addresses.get(network_of(address))
        if bucket is not None and (wait := bucket.wait_s(self._clock())):
            raise ApiError(
                429,
                "too_many_attempts",
                "Too many tokens from your address were not valid. Check the one that you send; good tokens seen here before "
                "are not affected.",
                retry_after_s=max(1, math.ceil(wait)),
            )

    def note(self, address: str) -> None:
        """Count one token that was none."""
        key, now = network_of(address), self._clock()
        bucket = self._addresses.setdefault(key, Bucket(self.RATE, self.BURST, now))
        bucket.wait_s(now)
        bucket.take(1)
        self._addresses.move_to_end(key)
        if len(self._addresses) > _MAX_CALLERS:
            self._addresses.popitem(last=False)


def network_of(address: str) -> str:
    """One IPv6 customer has 2**64 addresses, so these count as one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def refuse_over_quota(waits: Sequence[float]) -> None:
    """`waits` are the seconds until requests and tokens are left. Raises ApiError 429 with Retry-After."""
    for wait, name in zip(waits, ("requests per second", "tokens per minute"), strict=True):
        if wait:
            raise ApiError(
                429,
                "quota_exceeded",
                f"Your token has used its {name}.",
                retry_after_s=max(1, math.ceil(wait)),
            )


class Quotas:
    """Requests a second and model tokens a minute for each caller's token; 0 switches one off."""

    def __init__(
        self, requests_per_s: float, tokens_per_minute: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rates = (requests_per_s, tokens_per_minute / 60)
        # A burst of two seconds of requests, or of one minute of tokens, is normal use.
        self._sizes = (max(1.0, requests_per_s * 2), tokens_per_minute)
        self._clock = clock
        self._on = any(self._rates)
        self._callers: OrderedDict[str, tuple[Bucket, Bucket]] = OrderedDict()

    def begin(self, token_id: str) -> None:
        """Count one request. Raises ApiError 429 with Retry-After."""
        if not self._on:
            return
        now = self._clock()
        buckets = self._buckets(token_id, now)
        refuse_over_quota(
            [b.wait_s(now) if rate else 0.0 for b, rate in zip(buckets, self._rates, strict=True)]
        )
        buckets[0].take(1)

    def spend(self, token_id: str, tokens: int) -> None:
        """Count the model tokens of an answered request; the next request waits if they were too many."""
        if self._rates[1]:
            self._buckets(token_id, self._clock())[1].take(tokens)

    def _buckets(self, token_id: str, now: float) -> tuple[Bucket, Bucket]:
        buckets = self._callers.get(token_id)
        if buckets is None:
            first, second = (Bucket(r, s, now) for r, s in zip(self._rates, self._sizes, strict=True))
            buckets = self._callers[token_id] = (first, second)
            if len(self._callers) > _MAX_CALLERS:
                self._callers.popitem(last=False)
        self._callers.move_to_end(token_id)
        return buckets
