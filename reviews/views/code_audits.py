"""The page “Code audit” of a revision: reading, judging file by file, waiving."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone

from registry import queries
from registry.access import MEMBER, access, actor_of, member
from registry.actors import Actor
from registry.enums import CodeAudit, Scope
from registry.forms import ReasonForm
from registry.models import Revision
from registry.permissions import Action, check
from registry.permissions import reason_against as role_against
from registry.views.pages import try_on_form
from registry.words import gettext, lowered
from reviews.code_audits import judging
from reviews.code_audits.page import MARKS, context_of, file_url, next_open
from reviews.enums import FileMark
from reviews.forms import CodeWaiverForm, FileVerdictForm
from reviews.permissions import reason_against


@access(get=MEMBER)
def revision_code(request: HttpRequest, pk: int) -> HttpResponse:
    actor = actor_of(request)
    revision = _revision(actor, pk)
    return _page(request, actor, revision, request.GET.get("file", ""))


@access(post=member(Scope.REVIEW))
def revision_code_verdict(request: HttpRequest, pk: int) -> HttpResponse:
    actor = actor_of(request)
    revision = _revision(actor, pk)
    judging.check_judge(actor, revision)
    form = FileVerdictForm(request.POST)
    path = request.POST.get("path", "")
    if not form.is_valid():
        return _page(request, actor, revision, path, verdict_form=form, status=422)
    given = form.cleaned_data
    made, status = try_on_form(form, lambda: judging.judge_file(actor=actor, revision=revision, **given))
    if made is None:
        return _page(request, actor, revision, path, verdict_form=form, status=status)
    messages.success(request, f"{made.path}: {lowered(MARKS[FileMark(made.verdict)].label)}.")
    return redirect(file_url(revision, next_open(revision, made.path)))


@access(post=member(Scope.REVIEW))
def revision_code_waiver(request: HttpRequest, pk: int) -> HttpResponse:
    actor = actor_of(request)
    revision = _revision(actor, pk)
    check(actor, Action.WAIVE_CODE_AUDIT)
    form = CodeWaiverForm(request.POST, auto_id="id_waiver_%s")
    status = 422
    if form.is_valid():
        given = form.cleaned_data
        end = timezone.make_aware(datetime.combine(given.pop("until"), time(23, 59)))
        made, status = try_on_form(
            form, lambda: judging.waive_audit(actor=actor, revision=revision, expires_at=end, **given)
        )
        if made:
            messages.success(
                request, gettext("The code audit is waived until %(end)s.", end=f"{end:%Y-%m-%d %H:%M}")
            )
            return redirect("revision_code", revision.pk)
    return _page(request, actor, revision, "", waiver_form=form, status=status)


@access(post=member(Scope.REVIEW))
def revision_code_waiver_end(request: HttpRequest, pk: int) -> HttpResponse:
    actor = actor_of(request)
    revision = _revision(actor, pk)
    form = ReasonForm(request.POST)
    _, status = try_on_form(
        form,
        lambda: judging.end_waiver(actor=actor, revision=revision, reason=request.POST.get("reason", "")),
    )
    if not status:
        messages.success(request, gettext("The waiver has ended: the code waits for its audit again."))
        return redirect("revision_code", revision.pk)
    messages.error(request, " ".join(str(error) for error in form.non_field_errors()) or gettext("Say why."))
    return _page(request, actor, revision, "", status=status)


def _revision(actor: Actor, pk: int) -> Revision:
    return queries.get_or_404(queries.revisions_of(actor), pk=pk)


def _page(
    request: HttpRequest,
    actor: Actor,
    revision: Revision,
    path: str,
    *,
    verdict_form: forms.Form | None = None,
    waiver_form: forms.Form | None = None,
    status: int = 200,
) -> HttpResponse:
    revision.refresh_from_db(fields=["code_audit", "code_waived_until"])
    start = request.GET.get("from", "")
    context = context_of(revision, path, int(start) if start.isdecimal() and len(start) < 9 else 1)
    context |= _forms(actor, revision, context, verdict_form, waiver_form)
    return render(request, "reviews/code_audit.html", context, status=status)


def _forms(
    actor: Actor,
    revision: Revision,
    context: dict[str, Any],
    verdict_form: forms.Form | None,
    waiver_form: forms.Form | None,
) -> dict[str, Any]:
    """What this person may do here; a refused act shows its sentence instead of its form."""
    found: dict[str, Any] = {"verdict_form": None, "waiver_form": None}
    current = context["current"]
    if current:
        found["why_not_judge"] = _why_not(judging.check_judge, actor, revision)
        verdict, file = current["judged"].verdict, current["file"]
        seen = {"path": file.path, "sha256": file.sha256, "seen": verdict.pk if verdict else 0}
        found["verdict_form"] = verdict_form or FileVerdictForm(initial=seen)
        if verdict_form is not None:
            # What was typed stays; what was seen is what stands above the form now.
            data = request_data(verdict_form)
            data["seen"] = str(seen["seen"])
            verdict_form.data = data
    if context["state"].label and revision.code_audit != CodeAudit.NOT_APPLICABLE:
        found["why_not_waive"] = _why_not(judging.check_waive, actor, revision)
        found["waiver_form"] = waiver_form or CodeWaiverForm(auto_id="id_waiver_%s")
        found["end_form"] = ReasonForm(auto_id="id_end_%s")
        found["why_not_end"] = role_against(actor, Action.WAIVE_CODE_AUDIT)
    return found


def request_data(form: forms.Form) -> Any:
    """A copy of what was sent that can be changed."""
    return form.data.copy()  # type: ignore[attr-defined]


def _why_not(check: Callable[[Actor, Revision], None], actor: Actor, revision: Revision) -> str:
    return reason_against(check, actor, revision)
