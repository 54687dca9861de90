"""What happens to every request: an id, an actor, and the outer door."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotAllowed,
    HttpResponseRedirect,
    JsonResponse,
)
from django.shortcuts import render
from django.urls import reverse

from registry import context
from registry.access import STAFF, Access, declared_access, rules
from registry.actors import Actor
from registry.models import Membership, Team, User
from registry.words import gettext

GetResponse = Callable[[HttpRequest], HttpResponseBase]

# The largest thing that anybody sends is a golden set (5 MiB) in a form.
MAX_BODY_BYTES = 6 * 2**20

THIRD_PARTY: dict[str, Access] = {"admin": rules(get=STAFF, post=STAFF)}


def request_context(get_response: GetResponse) -> GetResponse:
    """Gives the request an id, which answers, logs and audit events carry."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        identifier = context.new_request_id(request.headers.get("X-Request-Id", ""))
        response = _unreadable(request) or get_response(request)
        response["X-Request-Id"] = identifier
        response.setdefault("Cache-Control", "no-store")
        return response

    return middleware


def _unreadable(request: HttpRequest) -> HttpResponse | None:
    """Refuses what no view could take, before anything reads the body."""
    nul = "\x00" in request.path_info or "%00" in request.META.get("QUERY_STRING", "")
    if nul and not request.path_info.startswith("/hub/"):  # that says the same as of any unknown file
        # PostgreSQL answers a NUL with an error that would be ours.
        status, code, message = (
            400,
            "bad_request",
            gettext("The address contains a NUL character. Nothing has such a name."),
        )
    elif int(request.META.get("CONTENT_LENGTH") or 0) > MAX_BODY_BYTES:
        status, code = 413, "too_large"
        message = gettext(
            "The request is larger than %(limit)s MiB. Send less at once.",
            limit=MAX_BODY_BYTES // 2**20,
        )
    else:
        return None
    if request.path_info.startswith("/api/"):
        return JsonResponse({"error": {"code": code, "message": message, "details": {}}}, status=status)
    return render(request, "400.html", {"reason": message}, status=status)


def session_actor(request: HttpRequest) -> Actor | None:
    """The signed-in person in the team they have chosen (else their first), with the roles of this moment."""
    user = request.user
    if not isinstance(user, User) or not user.is_active:
        return None
    memberships = list(
        Membership.objects.filter(user=user).select_related("team").order_by("team__name", "pk")
    )
    chosen = request.session.get("team_id")
    teams: dict[int, Team] = {m.team_id: m.team for m in memberships}
    team = teams.get(chosen) if chosen in teams else next(iter(teams.values()), None)
    roles = frozenset(m.role for m in memberships if team and m.team_id == team.pk)
    request.teams = list(teams.values())  # type: ignore[attr-defined]
    return Actor(user=user, team=team, roles=roles)


class AccessMiddleware:
    """The outer door of HTML pages. API views pass here and are checked after their own authentication."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        table = declared_access(view) or third_party_access(request)
        if table is None:
            return _refused(request, gettext("This page declares no access rule, so nobody may open it."))
        rule = table.get(request.method or "")
        if rule is None:
            return not_allowed(request, sorted(table), is_api=hasattr(view, "cls"))
        if hasattr(view, "cls"):
            return None  # a DRF view: AccessPermission asks after authentication
        request.actor = actor = session_actor(request)  # type: ignore[attr-defined]
        refusal = rule.refusal(actor, request.user)
        if refusal is None:
            return None
        if not request.user.is_authenticated:
            return _to_sign_in(request)
        return _refused(request, refusal)


def third_party_access(request: HttpRequest) -> Access | None:
    """Rules of views that are not ours, by URL namespace."""
    match = request.resolver_match
    return THIRD_PARTY.get(match.namespace) if match else None


def not_allowed(request: HttpRequest, verbs: list[str], *, is_api: bool = False) -> HttpResponse:
    answer = HttpResponseNotAllowed(verbs)
    if is_api:
        message = gettext(
            "This address does not answer %(method)s; it answers %(verbs)s.",
            method=request.method,
            verbs=", ".join(verbs),
        )
        shape = {"error": {"code": "method_not_allowed", "message": message, "details": {}}}
        answer = HttpResponseNotAllowed(verbs, json.dumps(shape), content_type="application/json")
    return answer


def _to_sign_in(request: HttpRequest) -> HttpResponse:
    back = request.get_full_path()
    if request.headers.get("HX-Request"):
        back = _page_of(request) or back
    target = f"{reverse(settings.LOGIN_URL)}?{urlencode({'next': back})}"
    if request.headers.get("HX-Request"):
        response = HttpResponse(status=401)
        response["HX-Redirect"] = target
        return response
    return HttpResponseRedirect(target)


def _page_of(request: HttpRequest) -> str:
    """The page that a person looks at while htmx asks for a part of it; empty for another site's, or none."""
    page = urlsplit(request.headers.get("HX-Current-URL", ""))
    if page.netloc != request.get_host():
        return ""
    return page.path + (f"?{page.query}" if page.query else "")


def _refused(request: HttpRequest, reason: str) -> HttpResponse:
    return render(request, "403.html", {"reason": reason}, status=403)
