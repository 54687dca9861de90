"""What `/hub` does not do: pushes, repositories, datasets, discussions. Each is refused in words, never left unanswered."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from registry.gateway.answers import REVISION, Refused
from registry.gateway.door import hub_view, token_actor


@hub_view("get", "post", "put", "patch", "delete")
def push(request: HttpRequest, /, **names: str) -> HttpResponseBase:
    """Creating repositories, uploads and commits. 403 is the status whose sentence every client shows."""
    token_actor(request)
    raise Refused(
        403,
        "",
        "Assay does not take pushes: its revisions come from the Hub through a review. Push the model there, then "
        f"submit it at {settings.PUBLIC_URL}/reviews/new/.",
    )


@hub_view("get", "post", "put", "patch", "delete")
def elsewhere(request: HttpRequest, rest: str) -> HttpResponseBase:
    """Every other address below `/hub`. Anything but reading is a push of some kind."""
    if request.method not in ("GET", "HEAD"):
        return push(request)
    token_actor(request)
    raise Refused(
        404,
        REVISION,
        "Assay serves approved models, asked for as org/name, and nothing else of the Hub (no datasets, Spaces, discussions "
        f"or Xet). The models are listed at {settings.PUBLIC_URL}/models/.",
        # Clients also look here for things that need not exist; a name without an org shows this in its exception.
        warn=False,
    )
