"""Small helpers that the pages of all apps share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme

from registry.exceptions import Conflict, HubError, InvalidInput

PER_PAGE = 25


def page_of(request: HttpRequest, rows: Any, per_page: int = PER_PAGE) -> Page[Any]:
    """The asked page; a number out of range gives the nearest one."""
    return Paginator(rows, per_page).get_page(request.GET.get("page"))


def try_on_form(form: forms.Form, act: Callable[[], Any]) -> tuple[Any, int]:
    """(result, 0), or (None, HTTP status) with the sentence on the form, so that nothing typed is lost.

    Refusals of the person (403) and missing objects (404) are not the form's matter and go on up.
    """
    try:
        return act(), 0
    except (InvalidInput, Conflict, HubError) as error:
        field = error.details.get("field")
        form.add_error(field if field in form.fields else None, error.message)
        return None, error.status


def go_back(request: HttpRequest, fallback: str, *args: Any) -> HttpResponse:
    """Redirects to the local address in `next`, else to the named page."""
    target = request.POST.get("next", "")
    # A path only: `redirect` would take a bare word for the name of a page, and fail on one that is none.
    if target.startswith("/") and url_has_allowed_host_and_scheme(target, allowed_hosts=None):
        return HttpResponseRedirect(target)
    return redirect(fallback, *args)
