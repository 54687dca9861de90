"""The language of the pages: kept in a cookie, chosen in the top bar."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.views.i18n import set_language

from registry.access import SIGNED_IN, access


@access(post=SIGNED_IN)
def language_switch(request: HttpRequest) -> HttpResponseBase:
    """Django's own view: it knows only the languages of the settings, and goes back to local addresses only."""
    return set_language(request)
