"""Waivers: recorded from a violation's line, listed, ended early."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from registry import permissions, queries
from registry.access import MEMBER, access, actor_of, member
from registry.enums import Scope
from registry.permissions import Action
from registry.views.pages import page_of, try_on_form
from registry.words import gettext
from reviews.forms import WaiverForm
from reviews.models import ReviewRequest, Waiver
from reviews.policies.facts import Subject
from reviews.policies.gate import MET, outcomes_of
from reviews.queries import waivers_of
from reviews.services.policies import end_waiver, grant_waiver


@access(get=MEMBER)
def waiver_list(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    page = page_of(request, waivers_of(actor).order_by("-pk"))
    context = {
        "page_obj": page,
        "now": timezone.now(),
        "why_not": permissions.reason_against(actor, Action.WAIVE),
    }
    return render(request, "reviews/waiver_list.html", context)


@access(get=MEMBER, post=member(Scope.REVIEW))
def waiver_new(request: HttpRequest, pk: int) -> HttpResponse:
    actor = actor_of(request)
    revision = queries.get_or_404(queries.revisions_of(actor), pk=pk)
    review = ReviewRequest.objects.filter(revision=revision, team=actor.in_team).order_by("-pk").first()
    outcomes = outcomes_of(Subject(revision, review, as_environment="production"), dry_run=True)
    open_ones = [o for o in outcomes if o.state != MET and o.rule.waivable and o.waiver is None]
    form = WaiverForm(
        request.POST or None, initial={"rule": request.GET.get("rule", ""), "owner": actor.user.username}
    )
    form.choose_among(open_ones)
    status = 200
    if request.method == "POST":
        permissions.check(actor, Action.WAIVE)
        status = 422
        if form.is_valid():
            data: dict[str, Any] = form.cleaned_data
            waiver, status = try_on_form(form, lambda: grant_waiver(actor=actor, revision=revision, **data))
            if waiver:
                messages.success(
                    request,
                    gettext(
                        "Waived until %(day)s. Then the violation is back.",
                        day=f"{waiver.expires_at:%Y-%m-%d}",
                    ),
                )
                return redirect("revision_detail", revision.pk)
    context = {"revision": revision, "model": revision.model, "form": form, "open": open_ones}
    return render(request, "reviews/waiver_new.html", context, status=status)


@access(post=member(Scope.REVIEW))
def waiver_end(request: HttpRequest, pk: int) -> HttpResponse:
    actor = actor_of(request)
    waiver: Waiver = queries.get_or_404(waivers_of(actor), pk=pk)
    end_waiver(actor=actor, waiver=waiver)
    messages.success(
        request, gettext("The waiver of %(rule)s has ended; the violation stands again.", rule=waiver.rule)
    )
    return redirect("waiver_list")
