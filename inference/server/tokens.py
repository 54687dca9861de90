"""Who is calling? The control plane knows; its answers are remembered so that it may be away for a while."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from inference.server.errors import ApiError, ControlRefused, ControlUnavailable
from inference.server.files import read_json, write_json
from inference.server.quota import Guesses
from inference.server.threads import in_thread

logger = logging.getLogger(__name__)

FRESH_S = 30.0
REFUSED_FRESH_S = 5.0
STALE_S = 600.0
# After a failed question the next ones are answered from memory for so long, not after another timeout each.
AWAY_S = 2.0
MAX_ENTRIES = 10_000
_MAX_TOKEN_CHARS = 512


@dataclass(frozen=True)
class Grant:
    """What a token may do. `seen_at` is wall-clock time, because it outlives the process."""

    active: bool
    seen_at: float
    token_id: str = ""
    team: str = ""
    user: str = ""
    scopes: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: dict[str, Any]) -> Grant:
        """From its `asdict`. Raises TypeError, KeyError."""
        return cls(**{**value, "scopes": tuple(value["scopes"])})


class Introspector(Protocol):
    async def introspect(self, token: str) -> dict[str, Any]: ...


class TokenCache:
    """Introspection, remembered by the token's digest (the token itself is never kept).

    An answer is used for FRESH_S; when the control plane is away an active one for STALE_S in all. Without a
    `store` nothing outlives the process.
    """

    def __init__(
        self,
        control: Introspector,
        store: Path | None,
        *,
        clock: Callable[[], float] = time.time,
        guesses: Guesses | None = None,
    ) -> None:
        self._control = control
        self._guesses = guesses or Guesses()
        self._store = store
        self._clock = clock
        self._entries: OrderedDict[str, Grant] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Grant]] = {}
        self._away_until = 0.0
        self._unsaved = False
        # Called with what the control plane said: another process of this server may want to know.
        self.heard: Callable[[str, Grant], None] = lambda digest, grant: None
        self._restore()

    def known(self, authorization: str) -> Grant | None:
        """The grant, when it is remembered, fresh and good: what nearly every request finds, without waiting. Raises
        ApiError 401 as `grant`."""
        grant = self._entries.get(_digest(_bearer(authorization)))
        return grant if grant is not None and grant.active and self._within(grant, FRESH_S) else None

    async def grant(self, authorization: str | None, address: str = "") -> Grant:
        """The grant behind an Authorization header.

        Raises ApiError 401 (missing, unknown, inactive), 429 (too many of these from this address), 503.
        """
        token = _bearer(authorization)
        digest = _digest(token)
        known = self._entries.get(digest)
        if known is None or not self._within(known, FRESH_S if known.active else REFUSED_FRESH_S):
            was_good = known is not None and known.active
            if not was_good:
                self._guesses.check(address)
            try:
                known = await self._ask(digest, token)
                if not known.active and not was_good:
                    self._guesses.note(address)
            except ControlUnavailable:
                if known is None or not known.active or not self._within(known, STALE_S):
                    raise ApiError(
                        503,
                        "auth_unavailable",
                        "The token cannot be checked now because the control plane does not answer.",
                        retry_after_s=5,
                    ) from None
        if not known.active:
            raise ApiError(401, "invalid_token", "The token is unknown, expired or revoked.")
        return known

    async def save(self) -> None:
        """Write the active grants to disk, so that a restart while the control plane is away does not lock
        all out."""
        if self._unsaved and self._store is not None:
            self._unsaved = False
            active = {d: asdict(g) for d, g in self._entries.items() if g.active and self._within(g, STALE_S)}
            await in_thread(partial(write_json, self._store, active))

    def _restore(self) -> None:
        stored = read_json(self._store) if self._store is not None else None
        for digest, item in (stored if isinstance(stored, dict) else {}).items():
            try:
                grant = Grant.read(item)
                if self._within(grant, STALE_S):
                    self._entries[digest] = grant
            except (TypeError, KeyError):
                logger.warning("token_cache_unreadable")
                return

    def _within(self, grant: Grant, seconds: float) -> bool:
        # A clock that was set back makes the age negative: ask again rather than trust for ever.
        return 0 <= self._clock() - grant.seen_at < seconds

    async def _ask(self, digest: str, token: str) -> Grant:
        """Ask once for all who wait for the same token."""
        if time.monotonic() < self._away_until:
            raise ControlUnavailable("The control plane was away a moment ago.")
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.create_task(self._introspect(digest, token))
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        # Shielded: the first caller hanging up must not fail the others.
        return await asyncio.shield(task)

    async def _introspect(self, digest: str, token: str) -> Grant:
        try:
            answer = await self._control.introspect(token)
            grant = self._read(answer)
        except ControlRefused as exc:
            if exc.status in (400, 422):
                # The control plane does not take it for a token at all (too long, odd characters).
                return Grant(active=False, seen_at=self._clock())
            # The service token is refused: our own fault, not the caller's.
            logger.error("introspection_refused", extra={"reason": str(exc)})
            raise ControlUnavailable("introspection refused") from exc
        except ControlUnavailable:
            self._away_until = time.monotonic() + AWAY_S
            raise
        self.learn(digest, grant)
        self.heard(digest, grant)
        return grant

    def learn(self, digest: str, grant: Grant) -> None:
        """What the control plane said about the token with this digest."""
        self._entries[digest] = grant
        self._entries.move_to_end(digest)
        while len(self._entries) > MAX_ENTRIES:
            self._entries.popitem(last=False)
        self._unsaved = True

    def entries(self) -> dict[str, Grant]:
        return dict(self._entries)

    def _read(self, answer: dict[str, Any]) -> Grant:
        now = self._clock()
        if answer.get("active") is not True:
            return Grant(active=False, seen_at=now)
        scopes = answer.get("scopes")
        names = [answer.get(name) for name in ("token_id", "team")]
        if not isinstance(scopes, list) or not all(isinstance(n, str | int) and n != "" for n in names):
            raise ControlUnavailable("The introspection answer lacks token_id, team or scopes.")
        token_id, team = map(str, names)
        return Grant(True, now, token_id, team, str(answer.get("user") or ""), tuple(map(str, scopes)))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _bearer(authorization: str | None) -> str:
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise ApiError(401, "no_token", "Send the header Authorization: Bearer <token>.")
    if len(token) > _MAX_TOKEN_CHARS or not token.isascii() or not token.isprintable():
        raise ApiError(401, "invalid_token", "The token is unknown, expired or revoked.")
    return token
