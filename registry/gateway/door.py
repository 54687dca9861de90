"""The inner door of `/hub`: a Bearer token, the team it speaks for, and errors in the Hub's own words.

The outer door is open (`ANYONE`): the Hub's clients read the Hub's error codes, not a sign-in page. A browser's session
counts for nothing here, so there is nothing that another site could ride on, and no CSRF check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponseBase
from django.utils import translation
from django.views.decorators.csrf import csrf_exempt

from registry.access import ANYONE, access
from registry.access_log import note_refusal
from registry.actors import Actor
from registry.enums import Scope
from registry.exceptions import DomainError, TooManyAttempts
from registry.gateway.answers import REPO, REVISION, Refused
from registry.guesses import admit
from registry.models import Team
from registry.sign_in import client_address
from registry.words import english

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def token_actor(request: HttpRequest) -> Actor:
    """Who sends this token. Raises Refused with 401, or 429 after too many that were not valid."""
    header = request.headers.get("Authorization", "")
    scheme, _, token = header.partition(" ")
    actor = None
    if header:  # clients also ask without one, before they know that they need it: that guesses nothing
        try:
            actor = admit(token.strip() if scheme.lower() == "bearer" else "", client_address(request))
        except TooManyAttempts as refusal:
            raise Refused(
                429, "", refusal.message, headers={"Retry-After": str(refusal.retry_after_s)}
            ) from refusal
    if actor is None:
        raise Refused(
            401,
            REPO,
            "Send a valid Assay token: set HF_TOKEN to one that you created under Tokens. "
            "It is missing, misspelt, expired or revoked, or its owner has left the team.",
            headers={"WWW-Authenticate": 'Bearer realm="assay"'},
        )
    return actor


def caller(request: HttpRequest, scope: Scope = Scope.READ) -> Actor:
    """The actor in the team it reads for. Raises Refused with 401 or 403.

    `scope` is `read` for what is told of a model, `artifacts` for its bytes.
    A service account with the scope `serve` serves every team and names the one it means by `?team=slug`.
    """
    actor = token_actor(request)
    if actor.user.is_service_account and actor.has_scope(Scope.SERVE):
        team = Team.objects.filter(slug=request.GET.get("team", "").replace("\0", "")).first()
        if team is None:
            raise Refused(404, REVISION, "Name the team that is served: ?team=<its short name>.")
        return replace(actor, team=team)
    if not actor.has_scope(scope):
        raise _denied(actor, f"This token lacks the scope `{scope}`. Create one that has it under Tokens.")
    if actor.team is None:
        raise _denied(actor, "This token belongs to no team, so there is nothing that it may read.")
    return actor


def _denied(actor: Actor, sentence: str) -> Refused:
    """A refusal of somebody who is known goes into the access chain, here as at every other door."""
    note_refusal(actor, sentence, "not_allowed")
    return Refused(403, "", sentence)


def hub_view(*verbs: str) -> Callable[[View[P]], View[P]]:
    """Declares a view of `/hub`: its verbs, and that its refusals are answered as the Hub's clients expect them."""

    def declare(view: View[P]) -> View[P]:
        @access(**{verb: ANYONE for verb in verbs})
        @csrf_exempt
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            try:
                # Its sentences go into headers (ASCII) and terminals: in English, whatever the browser's cookie says.
                with translation.override("en"):
                    return view(request, *args, **kwargs)
            except Refused as refusal:
                return refusal.answer()
            except DomainError as error:
                return Refused(404, REVISION, english(error.message)).answer()

        found: Any = guarded
        return found  # type: ignore[no-any-return]

    return declare
