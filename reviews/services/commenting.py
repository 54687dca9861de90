"""Threads on a review and its items: comment, answer, resolve, reopen. Rows are added, never changed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from registry import audit
from registry.actors import Actor
from registry.canonical import sha256_text
from registry.exceptions import Conflict, InvalidInput
from registry.models import Membership
from registry.words import gettext
from reviews import machines, permissions
from reviews.models import CommentKind, Mention, ReviewComment, ReviewRequest

MAX_TEXT = 4000
_NAME = re.compile(r"(?<![\w@.])@([\w.+-]{1,150})")


@dataclass(frozen=True)
class Thread:
    """A first comment with its answers; `is_change` when a reviewer asked for a change with it."""

    first: ReviewComment
    replies: list[ReviewComment]
    is_open: bool

    @property
    def is_change(self) -> bool:
        return self.first.kind == CommentKind.CHANGE


def threads_of(request: ReviewRequest) -> list[Thread]:
    """Every thread of a review, oldest first, in one query and one for its people."""
    rows = list(request.comments.select_related("by").order_by("pk"))
    replies: dict[int, list[ReviewComment]] = {row.pk: [] for row in rows if row.thread_id is None}
    for row in rows:
        if row.thread_id is not None:
            replies[row.thread_id].append(row)
    return [Thread(row, replies[row.pk], _is_open(replies[row.pk])) for row in rows if row.thread_id is None]


def open_changes(request: ReviewRequest) -> list[Thread]:
    """What was asked to be changed and is not settled yet."""
    return [thread for thread in threads_of(request) if thread.is_change and thread.is_open]


def _is_open(replies: list[ReviewComment]) -> bool:
    turns = [row.kind for row in replies if row.kind in (CommentKind.RESOLVED, CommentKind.REOPENED)]
    return not turns or turns[-1] == CommentKind.REOPENED


@transaction.atomic
def add_comment(
    *,
    actor: Actor,
    request_pk: int,
    text: str,
    key: str = "",
    thread_pk: int | None = None,
    change: bool = False,
) -> ReviewComment:
    """A comment on an item (or on the whole review, without a key), or an answer in a thread. `change` asks the submitter
    to change something: it joins the list that goes back with “Request changes”.

    Raises NotAllowed, Conflict (the review is over), InvalidInput (no words, unknown item or thread).
    """
    request = machines.lock(request_pk)
    permissions.check_comment(actor, request)
    thread = _thread(request, thread_pk) if thread_pk is not None else None
    kind = CommentKind.COMMENT
    if change and thread is None:
        permissions.check_decide(actor, request)
        kind = CommentKind.CHANGE
    return write_comment(actor, request, text, key=thread.key if thread else key, thread=thread, kind=kind)


@transaction.atomic
def settle_thread(*, actor: Actor, request_pk: int, thread_pk: int, resolved: bool) -> ReviewComment:
    """Resolves or reopens a thread. What a reviewer asked to change is settled by reviewers, not by the submitter.

    Raises NotAllowed, Conflict (it is so already, or the review is over), InvalidInput.
    """
    request = machines.lock(request_pk)
    permissions.check_comment(actor, request)
    thread = _thread(request, thread_pk)
    if thread.kind == CommentKind.CHANGE:
        permissions.check_settle_change(actor, request)
    if _is_open(list(thread.replies.order_by("pk"))) != resolved:
        raise Conflict(
            gettext("The thread is resolved already.")
            if resolved
            else gettext("The thread is open already."),
            code="same_state",
        )
    kind = CommentKind.RESOLVED if resolved else CommentKind.REOPENED
    made = ReviewComment.objects.create(
        request=request,
        thread=thread,
        key=thread.key,
        kind=kind,
        round=request.round,
        by=actor.user,
        at=timezone.now(),
    )
    _record(actor, request, made, verb="review.thread_resolved" if resolved else "review.thread_reopened")
    return made


def write_comment(
    actor: Actor,
    request: ReviewRequest,
    text: str,
    *,
    key: str = "",
    thread: ReviewComment | None = None,
    kind: CommentKind = CommentKind.COMMENT,
) -> ReviewComment:
    """The row, its mentions and its event; within the caller's transaction, after the caller's checks."""
    text = text.strip()
    if not text:
        raise InvalidInput(gettext("Write the comment first."), code="no_words", field="text")
    if len(text) > MAX_TEXT:
        raise InvalidInput(gettext("A comment has at most 4,000 characters."), code="too_long", field="text")
    if key and key not in {item["key"] for item in request.checklist}:
        raise InvalidInput(
            gettext("The checklist has no item %(key)r.", key=key[:40]), code="unknown_item", field="key"
        )
    made = ReviewComment.objects.create(
        request=request,
        thread=thread,
        key=key,
        kind=kind,
        text=text,
        round=request.round,
        by=actor.user,
        at=timezone.now(),
    )
    names = set(_NAME.findall(text))
    names |= {name.rstrip(".") for name in names}  # “ask @linh.” ends a sentence, not a name
    named = Membership.objects.filter(team=request.team, user__username__in=names).exclude(user=actor.user)
    people = sorted(set(named.values_list("user_id", flat=True)))
    Mention.objects.bulk_create(Mention(comment=made, user_id=person) for person in people)
    _record(actor, request, made, verb="review.commented", mentions=people)
    return made


def _thread(request: ReviewRequest, pk: int) -> ReviewComment:
    found = request.comments.filter(pk=pk, thread__isnull=True).first()
    if found is None:
        raise InvalidInput(gettext("This review has no such thread."), code="unknown_thread", field="thread")
    return found


def _record(
    actor: Actor, request: ReviewRequest, made: ReviewComment, verb: str, mentions: Sequence[int] = ()
) -> None:
    """The words themselves stay out of the log: they can name people. Their digest shows when they were changed."""
    titles: dict[str, Any] = {item["key"]: item["title"] for item in request.checklist}
    audit.record(
        actor=actor,
        verb=verb,
        subject=request,
        model_id=request.model.model_id,
        sha=request.revision.commit_sha if request.revision else request.requested_revision,
        item=titles.get(made.key, "the whole").lower(),
        comment=made.pk,
        thread=made.thread_id,
        key=made.key,
        kind=str(made.kind),
        in_round=made.round,
        text_sha256=sha256_text(made.text),
        mentions=list(mentions),
    )
