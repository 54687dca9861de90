"""Threads on the review page: with htmx the item's threads come back, without JavaScript the whole page."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from registry import queries as registry_queries
from registry.access import access, actor_of, member
from registry.actors import Actor
from registry.enums import Scope
from registry.exceptions import Conflict, DomainError, InvalidInput
from reviews import permissions
from reviews.models import ReviewRequest
from reviews.queries import requests_of
from reviews.services import commenting
from reviews.views import answering


def threads_by_key(review: ReviewRequest) -> dict[str, list[commenting.Thread]]:
    found: dict[str, list[commenting.Thread]] = {}
    for thread in commenting.threads_of(review):
        found.setdefault(thread.first.key, []).append(thread)
    return found


def _review(actor: Actor, pk: int) -> ReviewRequest:
    return registry_queries.get_or_404(requests_of(actor), pk=pk)


def _answer(
    request: HttpRequest, actor: Actor, review: ReviewRequest, key: str, error: DomainError | None
) -> HttpResponse:
    """The item's threads for htmx, the page at that item otherwise."""
    if not request.headers.get("HX-Request"):
        if error:
            messages.error(request, error.message)
        return redirect(reverse("review_detail", args=[review.pk]) + (f"#item-{key}" if key else ""))
    context: dict[str, Any] = {
        "request_": review,
        "can_comment": not permissions.reason_against(permissions.check_comment, actor, review),
        "can_decide": not permissions.reason_against(permissions.check_decide, actor, review),
        "item": {
            "key": key,
            "threads": threads_by_key(review).get(key, []),
            "comment_error": error.message if error else "",
        },
    }
    return render(request, "reviews/_threads.html", context, status=422 if error else 200)


@access(post=member(Scope.SUBMIT))
def review_comment(request: HttpRequest, pk: int) -> HttpResponse:
    """`comment` is "item:thread" or "item::change". Without JavaScript the answers that were typed are saved with it."""
    actor = actor_of(request)
    review, where = _review(actor, pk), request.POST.get("comment", ":")
    key, root, *rest = [*where.split(":"), ""]
    if not request.headers.get("HX-Request") and not permissions.reason_against(
        permissions.check_answer, actor, review
    ):
        answering.save_page(request, actor, review)
    try:
        commenting.add_comment(
            actor=actor,
            request_pk=pk,
            text=request.POST.get(f"comment-{key}-{root}", ""),
            key=key,
            thread_pk=int(root) if root.isdecimal() else None,
            change="change" in rest,
        )
    except (InvalidInput, Conflict) as error:
        return _answer(request, actor, review, key, error)
    return _answer(request, actor, review, key, None)


@access(post=member(Scope.SUBMIT))
def review_thread(request: HttpRequest, pk: int, thread: int) -> HttpResponse:
    """Resolves or reopens."""
    actor = actor_of(request)
    review = _review(actor, pk)
    resolved = request.POST.get("settle") == "resolve"
    row = registry_queries.get_or_404(review.comments.all(), pk=thread)
    try:
        commenting.settle_thread(actor=actor, request_pk=pk, thread_pk=thread, resolved=resolved)
    except (InvalidInput, Conflict) as error:
        return _answer(request, actor, review, row.key, error)
    return _answer(request, actor, review, row.key, None)
