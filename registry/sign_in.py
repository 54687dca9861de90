"""How often a name and a password may be tried: what django-axes counts is answered and recorded here.

The answer is the same for names that exist and names that do not. The address of a client is the peer's own; only a
proxy that the setting ASSAY_TRUSTED_PROXIES names may speak for somebody else.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.signals import user_locked_out
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from registry import audit
from registry.canonical import sha256_text
from registry.words import gettext


def _trusted(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in settings.TRUSTED_PROXIES)


def client_address(request: HttpRequest) -> str:
    """Read from the right: what stands left of the first stranger was written by that stranger."""
    peer = str(request.META.get("REMOTE_ADDR") or "")
    hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",")]
    while _trusted(peer) and hops and hops[-1]:
        peer = hops.pop()
    try:
        return str(ipaddress.ip_address(peer))
    except ValueError:
        return "0.0.0.0"


class Attempts(AxesDatabaseHandler):  # type: ignore[misc]
    """A success forgives the failures of that name from that address, never those of other names."""

    def user_logged_in(self, sender: Any, request: HttpRequest, user: Any, **kwargs: Any) -> None:
        self.reset_attempts(ip_address=client_address(request), username=user.get_username())


def refused(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
    seconds = int(settings.AXES_COOLOFF_TIME.total_seconds())
    reason = gettext(
        "Too many sign-ins failed from here, so none is tried for %(minutes)s minutes. Wait, then "
        "try again; an admin of your team can set a new password.",
        minutes=seconds // 60,
    )
    answer = render(request, "400.html", {"reason": reason}, status=429)
    answer["Retry-After"] = str(seconds)
    return answer


def _locked_out(username: str | None, **kwargs: Any) -> None:
    audit.record_access(
        actor=None, verb="session.locked_out", username_sha256=sha256_text(str(username or ""))
    )


def connect() -> None:
    user_locked_out.connect(_locked_out, dispatch_uid="access.locked_out", weak=False)
