"""How an API request says who it is: `Authorization: Bearer <token>`, or the browser's session with CSRF."""

from __future__ import annotations

from typing import cast

from rest_framework import authentication
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.request import Request

from registry.actors import Actor
from registry.exceptions import TooManyAttempts
from registry.guesses import admit
from registry.middleware import session_actor
from registry.models import User
from registry.sign_in import client_address


class TokensThrottled(Throttled):
    """TooManyAttempts as DRF's own, without the sentence that DRF would add to ours."""

    def __init__(self, refusal: TooManyAttempts) -> None:
        super().__init__(detail=refusal.message)
        self.retry_after_s = refusal.retry_after_s


class TokenAuthentication(authentication.BaseAuthentication):
    """`request.auth` is the Actor. A wrong token is refused and counted, never ignored."""

    def authenticate(self, request: Request) -> tuple[User, Actor] | None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if not header:
            return None
        scheme, _, token = header.partition(" ")
        try:
            actor = admit(
                token.strip() if scheme.lower() == "bearer" else "", client_address(request._request)
            )
        except TooManyAttempts as refusal:
            # DRF takes its own exceptions only from here: any other would be raised again by whoever asks who it was.
            raise TokensThrottled(refusal) from refusal
        if actor is None:
            raise AuthenticationFailed(
                "This token is not valid: it is misspelt, expired, revoked, or its owner has left the team. "
                "Create a new one under Tokens."
            )
        return actor.user, actor

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="assay"'


class SessionAuthentication(authentication.SessionAuthentication):
    """The browser's session, CSRF enforced by DRF; `request.auth` is the Actor here, too."""

    def authenticate(self, request: Request) -> tuple[User, Actor] | None:
        found = super().authenticate(request)
        if found is None:
            return None
        actor = session_actor(request._request)
        return None if actor is None else (cast(User, found[0]), actor)
