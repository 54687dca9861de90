"""Domain exceptions to HTTP, in one place, for pages and for the API.

API: `{"error": {"code", "message", "details"}}`. Pages: the message where the person is, or a page that says it.
Refusals of a known person (403) go into the access chain, after the refused act has rolled back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.http.response import Http404
from django.shortcuts import render
from django.views.defaults import page_not_found
from rest_framework import exceptions as drf
from rest_framework.response import Response
from rest_framework.views import set_rollback

from registry import access_log
from registry.actors import Actor
from registry.api.authentication import TokensThrottled
from registry.exceptions import DomainError, NotAllowed, TooManyAttempts
from registry.words import gettext

logger = logging.getLogger(__name__)

CODES: dict[int, str] = {400: "bad_request", 401: "not_authenticated", 403: "not_allowed", 404: "not_found",
                         405: "method_not_allowed", 406: "not_acceptable", 415: "unsupported_media_type",
                         429: "throttled"}  # fmt: skip


def body(code: str, message: str, details: Any = None) -> dict[str, Any]:
    # A plain text: not every renderer (the schema's YAML) knows the kind that remembers its English.
    return {"error": {"code": code, "message": str(message), "details": details or {}}}


def note_refusal(error: DomainError, actor: Actor | None) -> None:
    """Denied attempts are kept: who tried what."""
    if isinstance(error, NotAllowed | TooManyAttempts) and actor is not None:
        access_log.note_refusal(actor, error.message, error.code)


def _retry_after(error: DomainError) -> dict[str, str] | None:
    if isinstance(error, TooManyAttempts):
        return {"Retry-After": str(error.retry_after_s)}
    return {"Retry-After": "5"} if error.status == 503 else None


def api_exception_handler(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's hook. Anything unexpected becomes a 500 in the same shape, without its text."""
    set_rollback()
    request = context.get("request")
    if isinstance(error, DomainError):
        actor = getattr(request, "auth", None)
        note_refusal(error, actor if isinstance(actor, Actor) else None)
        return Response(
            body(error.code, error.message, error.details), status=error.status, headers=_retry_after(error)
        )
    if isinstance(error, Http404):
        return Response(body("not_found", gettext("There is nothing at this address.")), status=404)
    if isinstance(error, drf.ValidationError):
        return Response(
            body("invalid_input", gettext("Some fields are missing or wrong; see details."), error.detail),
            status=422,
        )
    if isinstance(error, drf.APIException):
        headers = {}
        if isinstance(error, drf.NotAuthenticated | drf.AuthenticationFailed):
            headers["WWW-Authenticate"] = 'Bearer realm="assay"'
            status = 401
        else:
            status = error.status_code
        if isinstance(error, TokensThrottled):
            headers["Retry-After"] = str(error.retry_after_s)
        message = str(error.detail) if isinstance(error.detail, str) else gettext("The request was refused.")
        if isinstance(error, drf.NotAuthenticated):
            message = gettext("Send a token as `Authorization: Bearer <token>`, or sign in.")
        return Response(body(CODES.get(status, "error"), message), status=status, headers=headers)
    logger.exception("unexpected_error")
    message = gettext(
        "Assay met an error that it did not expect; it is in the log under this answer's X-Request-Id."
    )
    return Response(body("internal_error", message), status=500)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """`handler404`: an unknown address under /api/ answers in the API's shape, any other as a page."""
    if request.path.startswith("/api/"):
        return JsonResponse(body("not_found", gettext("There is nothing at this address.")), status=404)
    return page_not_found(request, exception)


class DomainErrorMiddleware:
    """A domain error that a page's view did not catch becomes a page with its sentence and its status."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, DomainError):
            return None
        actor = getattr(request, "actor", None)
        note_refusal(error, actor if isinstance(actor, Actor) else None)
        template = {403: "403.html", 404: "404.html"}.get(error.status, "400.html")
        answer = render(request, template, {"reason": error.message}, status=error.status)
        for name, value in (_retry_after(error) or {}).items():
            answer[name] = value
        return answer
