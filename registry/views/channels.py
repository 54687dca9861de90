"""Channels: what is live, its history, move and roll back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from registry import history, permissions, policies, queries
from registry.access import MEMBER, access, actor_of, member
from registry.actors import Actor
from registry.consumption import living
from registry.enums import ApprovalStatus, Scope, Status
from registry.exceptions import Conflict
from registry.forms import MomentForm, MoveForm, RollbackForm
from registry.models import Approval, Channel, ChannelMove, ServedReplica
from registry.permissions import Action
from registry.services.channels import move_channel, roll_back_channel
from registry.views.pages import page_of, try_on_form
from registry.words import gettext

FRESH_S = 60
# Both forms are on one page and have the same field names: each label needs its own field.
MOVE_IDS, ROLLBACK_IDS = "id_move_%s", "id_rollback_%s"


def channel_rows(channels: Iterable[Channel]) -> list[dict[str, Any]]:
    """{channel, model, revision, since, by} per channel; the last moves are read in one query."""
    rows = list(channels)
    last: dict[int, ChannelMove] = {}
    for move in ChannelMove.objects.filter(channel__in=rows).select_related("by").order_by("number"):
        last[move.channel_id] = move
    return [
        {
            "channel": channel,
            "model": channel.model,
            "revision": channel.current.revision if channel.current else None,
            "since": last[channel.pk].at if channel.pk in last else None,
            "by": last[channel.pk].by.display_name if channel.pk in last else None,
        }
        for channel in rows
    ]


def _replicas(channel: Channel) -> list[ServedReplica]:
    since = timezone.now() - timedelta(seconds=FRESH_S)
    return list(
        ServedReplica.objects.filter(
            model=channel.model, channel=channel.name, reported_at__gt=since
        ).order_by("replica")
    )


@access(get=MEMBER)
def channel_list(request: HttpRequest) -> HttpResponse:
    page = page_of(request, queries.channels_of(actor_of(request)).order_by("model__model_id", "name"))
    rows = with_replicas(channel_rows(page.object_list))
    return render(request, "registry/channel_list.html", {"channels": rows, "page_obj": page})


def with_replicas(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds `replicas`, in words: how many inference servers serve the row's commit now. One query."""
    fresh = timezone.now() - timedelta(seconds=FRESH_S)
    reports = ServedReplica.objects.filter(model__in=[r["model"] for r in rows], reported_at__gt=fresh)
    for row in rows:
        sha = row["revision"].commit_sha if row["revision"] else ""
        mine = [r for r in reports if r.model_id == row["model"].pk and r.channel == row["channel"].name]
        ready = sum(r.state == "ready" and r.commit_sha == sha for r in mine)
        row["replicas"] = (
            gettext("%(ready)s of %(mine)s serve it", ready=ready, mine=len(mine)) if mine else ""
        )
    return rows


def _context(actor: Actor, channel: Channel, **forms: Any) -> dict[str, Any]:
    moves = list(channel.moves.select_related("from_approval__revision", "to_approval__revision", "by"))
    for move in moves:
        move.from_revision = move.from_approval.revision if move.from_approval else None  # type: ignore[attr-defined]
        move.to_revision = move.to_approval.revision  # type: ignore[attr-defined]
    candidates = (
        living(Approval.objects.filter(model=channel.model, status=ApprovalStatus.ACTIVE))
        .exclude(pk=channel.current_id or 0)
        .select_related("revision")
        .order_by("-approved_at")
    )
    earlier = candidates.filter(pk__in=[m.to_approval_id for m in moves])
    move_form, rollback_form = (
        forms.get("move_form") or MoveForm(auto_id=MOVE_IDS),
        forms.get("rollback_form") or RollbackForm(auto_id=ROLLBACK_IDS),
    )
    move_form.choose_among(candidates)
    rollback_form.choose_among(earlier)
    move_reason = permissions.reason_against(actor, Action.MOVE_CHANNEL)
    roll_back_reason = permissions.reason_against(actor, Action.ROLL_BACK_CHANNEL)
    try:
        policies.rollback_target(channel)
    except Conflict as nothing:
        roll_back_reason = roll_back_reason or nothing.message
    if not move_reason and not candidates:
        move_reason = gettext("No other revision of this model is approved. Submit one for review first.")
    current = channel.current
    return {
        "channel": channel,
        "model": channel.model,
        "live": {
            "revision": current.revision if current else None,
            "since": moves[0].at if moves else None,
            "by": moves[0].by if moves else None,
            "reason": moves[0].reason if moves else "",
            "approval": current,
            "status": _live_status(current),
        },
        "moves": moves,
        "move_form": move_form,
        "rollback_form": rollback_form,
        "can_move": not move_reason,
        "move_reason": move_reason,
        "can_roll_back": not roll_back_reason,
        "roll_back_reason": roll_back_reason,
        "replicas": _replicas(channel),
        "then_form": MomentForm(),
    }


def _live_status(approval: Approval | None) -> Status | None:
    return approval.shown_status if approval else None


@access(get=MEMBER)
def channel_detail(request: HttpRequest, pk: int) -> HttpResponse:
    actor = actor_of(request)
    channel = queries.get_or_404(queries.channels_of(actor), pk=pk)
    context = _context(actor, channel) | _then(request, channel)
    return render(request, "registry/channel_detail.html", context)


def _then(request: HttpRequest, channel: Channel) -> dict[str, Any]:
    """The answer to ?at=, and the form that asks."""
    form = MomentForm(request.GET if "at" in request.GET else None)
    if not form.is_valid():
        return {"then_form": form}
    found = history.channel_at(channel, form.cleaned_data["at"])
    return {"then_form": form, "then": found, "then_sentence": history.sentence_of(channel, found)}


def _act(request: HttpRequest, pk: int, form: Any, name: str, action: Action) -> HttpResponse:
    actor = actor_of(request)
    channel = queries.get_or_404(queries.channels_of(actor), pk=pk)
    permissions.check(actor, action)
    context = _context(actor, channel, **{name: form})
    status = 422
    if form.is_valid():
        target, reason = form.cleaned_data["target"], form.cleaned_data["reason"]
        if action == Action.MOVE_CHANNEL:
            move, status = try_on_form(
                form,
                lambda: move_channel(
                    actor=actor, model=channel.model, name=channel.name, approval=target, reason=reason
                ),
            )
        else:
            move, status = try_on_form(
                form, lambda: roll_back_channel(actor=actor, channel=channel, reason=reason, to=target)
            )
        if move:
            sha = move.to_approval.revision.short_sha
            messages.success(
                request,
                gettext(
                    "%(channel)s of %(model_id)s now points at %(sha)s.",
                    channel=channel.name,
                    model_id=channel.model.model_id,
                    sha=sha,
                ),
            )
            return redirect("channel_detail", pk)
    return render(request, "registry/channel_detail.html", context, status=status)


@access(post=member(Scope.RELEASE))
def channel_move(request: HttpRequest, pk: int) -> HttpResponse:
    form = MoveForm(request.POST, auto_id=MOVE_IDS)
    return _act(request, pk, form, "move_form", Action.MOVE_CHANNEL)


@access(post=member(Scope.RELEASE))
def channel_roll_back(request: HttpRequest, pk: int) -> HttpResponse:
    form = RollbackForm(request.POST, auto_id=ROLLBACK_IDS)
    return _act(request, pk, form, "rollback_form", Action.ROLL_BACK_CHANNEL)
