"""Runs: every job, with its steps, its error in words, and a way to stop it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from registry import jobs, permissions, queries
from registry.access import MEMBER, access, actor_of, member
from registry.enums import OPEN_JOB_STATES, JobState, Scope
from registry.models import Evidence, Job, Revision
from registry.permissions import Action
from registry.stored_words import retold
from registry.views.pages import page_of
from registry.words import gettext

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

FILTERS: dict[str, tuple[StrOrPromise, tuple[JobState, ...]]] = {
    "": (_("All"), ()),
    "open": (_("Open"), OPEN_JOB_STATES),
    "failed": (_("Failed"), (JobState.FAILED, JobState.TIMED_OUT)),
}


@access(get=MEMBER)
def run_list(request: HttpRequest) -> HttpResponse:
    chosen = request.GET.get("state", "")
    rows = queries.jobs_of(actor_of(request)).order_by("-pk")
    states = FILTERS.get(chosen, FILTERS[""])[1]
    filters = [
        {
            "label": label,
            "url": f"{reverse('run_list')}?state={key}" if key else reverse("run_list"),
            "active": key == chosen,
        }
        for key, (label, _) in FILTERS.items()
    ]
    page = page_of(request, rows.filter(state__in=states) if states else rows)
    return render(request, "registry/run_list.html", {"page_obj": page, "filters": filters})


def _verdict(job: Job, evidence: Evidence | None) -> str:
    if evidence:
        summary = retold(evidence.summary)
        return summary[:1].upper() + summary[1:] + "."
    return (
        gettext("Every file was downloaded, re-hashed and recorded.")
        if job.state == JobState.SUCCEEDED
        else ""
    )


@access(get=MEMBER)
def run_detail(request: HttpRequest, pk: int) -> HttpResponse:
    actor = actor_of(request)
    job = queries.get_or_404(queries.jobs_of(actor), pk=pk)
    evidence = Evidence.objects.filter(job=job).first()
    known = job.params.get("revision")
    revision = Revision.objects.filter(pk=known, model__team=actor.in_team).first() if known else None
    reason = permissions.reason_against(actor, Action.CANCEL_JOB)
    context: dict[str, Any] = {
        "job": job,
        "revision": revision,
        "verdict": _verdict(job, evidence),
        "can_cancel": job.is_open and not reason,
        "cancel_reason": reason,
    }
    return render(request, "registry/run_detail.html", context)


@access(post=member(Scope.SUBMIT))
def run_cancel(request: HttpRequest, pk: int) -> HttpResponse:
    actor = actor_of(request)
    job = jobs.cancel(actor=actor, job=queries.get_or_404(queries.jobs_of(actor), pk=pk))
    messages.success(
        request,
        gettext("%(title)s is being cancelled.", title=job.title)
        if job.is_open
        else gettext("%(title)s is cancelled.", title=job.title),
    )
    return redirect("run_detail", pk)
