"""Who may knock at which URL: every view declares it, verb by verb; a view that does not is refused to everybody.

Here stand only the outer doors (signed in? member of a team? which token scope?). What a person may do with one object
is asked by the services (`permissions.py`). A test walks the resolver and fails on any view without a rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from django.http import HttpRequest
from rest_framework.permissions import BasePermission

from registry.actors import Actor
from registry.enums import Scope
from registry.exceptions import NotAllowed
from registry.words import either, gettext

if TYPE_CHECKING:  # DRF's views import their permissions: at run time that would be a circle
    from rest_framework.request import Request
    from rest_framework.views import APIView


class Who(Enum):
    """The outer doors, from open to narrow."""

    ANYONE = "anyone"
    SIGNED_IN = "signed in"
    MEMBER = "member of a team"
    STAFF = "staff (Django admin)"
    SERVICE = "service account"


@dataclass(frozen=True)
class Rule:
    """`scopes`: a token needs one of them; a session needs none."""

    who: Who
    scopes: tuple[Scope, ...] = (Scope.READ,)

    @property
    def needed(self) -> str:
        """The scopes as a sentence names them."""
        return either(f"`{scope}`" for scope in self.scopes)

    def _is_open_to(self, actor: Actor) -> bool:
        return any(actor.has_scope(scope) for scope in self.scopes)

    def refusal(self, actor: Actor | None, user: Any) -> str | None:
        """None when the door is open, else the sentence that says why it is not."""
        if self.who is Who.ANYONE:
            return None
        signed_in = actor is not None or bool(getattr(user, "is_authenticated", False))
        if not signed_in:
            return gettext("Sign in, or send a token as `Authorization: Bearer <token>`.")
        if self.who is Who.STAFF:
            return (
                None
                if getattr(user, "is_staff", False)
                else gettext("Only staff accounts open the administration.")
            )
        if self.who is Who.SERVICE:
            if actor is None or not actor.user.is_service_account or not self._is_open_to(actor):
                return gettext(
                    "Only a service account with the scope %(scope)s may do this.", scope=self.needed
                )
            return None
        if self.who is Who.MEMBER and (actor is None or actor.team is None):
            return gettext("You are not a member of any team yet. Ask an admin to add you to one.")
        if actor is not None and not self._is_open_to(actor):
            return gettext(
                "This token lacks the scope %(scope)s. Create one that has it under Tokens.",
                scope=self.needed,
            )
        return None


Access = dict[str, Rule]

ANYONE = Rule(Who.ANYONE)
SIGNED_IN = Rule(Who.SIGNED_IN)
MEMBER = Rule(Who.MEMBER)
STAFF = Rule(Who.STAFF)
SERVICE = Rule(Who.SERVICE, (Scope.SERVE,))


def member(*scopes: Scope) -> Rule:
    return Rule(Who.MEMBER, scopes)


def signed_in(*scopes: Scope) -> Rule:
    return Rule(Who.SIGNED_IN, scopes)


def rules(**verbs: Rule) -> Access:
    """`rules(get=MEMBER, post=member(Scope.SUBMIT))`; HEAD follows GET, OPTIONS is never served."""
    table = {verb.upper(): rule for verb, rule in verbs.items()}
    if "GET" in table:
        table.setdefault("HEAD", table["GET"])
    return table


View = TypeVar("View", bound=Callable[..., Any])


def access(**verbs: Rule) -> Callable[[View], View]:
    """Declares the rules of a function view."""

    def declare(view: View) -> View:
        view.access = rules(**verbs)  # type: ignore[attr-defined]
        return view

    return declare


def declared_access(view: Any) -> Access | None:
    """The rules of a resolved view (function, Django class or DRF class), None when it declares none."""
    for holder in (view, getattr(view, "view_class", None), getattr(view, "cls", None)):
        found = getattr(holder, "access", None)
        if isinstance(found, dict):
            return found
    return None


def actor_of(request: HttpRequest) -> Actor:
    """The actor of a request that has passed its door. Raises NotAllowed when there is none."""
    found = getattr(request, "actor", None)
    if not isinstance(found, Actor):
        raise NotAllowed(gettext("Sign in first."), code="not_authenticated")
    return found


class AccessPermission(BasePermission):
    """The door of every API view: after authentication, before anything else."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        table = getattr(view, "access", None) or declared_access(view)
        rule = (table or {}).get(request.method or "")
        if rule is None:
            raise NotAllowed(
                gettext("This address declares no access rule for that verb, so nobody may use it.")
            )
        actor = request.auth if isinstance(request.auth, Actor) else None
        refusal = rule.refusal(actor, request.user)
        if refusal is None:
            return True
        if actor is None and not getattr(request.user, "is_authenticated", False):
            return False  # DRF answers 401 with WWW-Authenticate
        raise NotAllowed(refusal)
