"""`/hub` beside the pages: what a browser needs around a view (sessions, CSRF, messages, htmx) costs its clients time only.

A download is two requests a file, so what surrounds them is most of what they cost once the front server sends the bytes.
The view, its access rule, the request's id and the security headers are the same; a test holds both ways against each other.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.http.response import Http404
from django.urls.resolvers import RegexPattern, URLResolver
from django.utils import translation

from registry.access import declared_access
from registry.middleware import GetResponse, not_allowed

PREFIX = "/hub/"
_addresses = URLResolver(RegexPattern(rf"^{PREFIX}"), "registry.gateway.urls")


def hub_lane(get_response: GetResponse) -> GetResponse:
    """Middleware: answers what lies below `/hub/` itself, and hands on everything else."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(PREFIX):
            return get_response(request)
        request.get_host()  # refuses a name that is not ours, as the pages' middleware does
        # The thread may still speak the language of the page that it answered before.
        translation.activate(translation.get_language_from_request(request))
        try:
            view, args, kwargs = request.resolver_match = _addresses.resolve(request.path_info)
        except Http404:  # no path below the prefix is unknown to its last pattern
            return get_response(request)
        table = declared_access(view)
        if table is None:  # refused to everybody, there
            return get_response(request)
        answer: HttpResponseBase
        if request.method in table:
            answer = view(request, *args, **kwargs)
        else:
            answer = not_allowed(request, sorted(table))
            answer["X-Frame-Options"] = "DENY"
        if isinstance(answer, HttpResponse) and "Content-Length" not in answer:
            answer["Content-Length"] = str(len(answer.content))
        return answer

    return middleware
