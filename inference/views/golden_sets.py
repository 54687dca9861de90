"""Golden sets: the list, and adding one."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from inference.forms import GoldenSetForm
from inference.models import GoldenSet
from inference.services.golden_sets import MAX_BYTES, create_golden_set
from registry import queries
from registry.access import MEMBER, access, actor_of, member
from registry.enums import Scope
from registry.exceptions import InvalidInput
from registry.permissions import Action, can, check
from registry.views.pages import page_of
from registry.words import gettext


@access(get=MEMBER)
def goldenset_list(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    page = page_of(
        request, GoldenSet.objects.filter(team=actor.in_team).select_related("created_by").order_by("-pk")
    )
    models = {
        m.model_id: m
        for m in queries.models_of(actor).filter(model_id__in=[s.model_id for s in page.object_list])
    }
    for row in page.object_list:
        row.model = models.get(row.model_id)
    context = {
        "golden_sets": page.object_list,
        "page_obj": page,
        "can_add": can(actor, Action.ADD_GOLDEN_SET),
    }
    return render(request, "inference/goldenset_list.html", context)


@access(get=MEMBER, post=member(Scope.SUBMIT))
def goldenset_new(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    check(actor, Action.ADD_GOLDEN_SET)
    form = GoldenSetForm(
        request.POST or None, request.FILES or None, initial={"model_id": request.GET.get("model", "")}
    )
    context: dict[str, Any] = {"form": form}
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                return _create(request, form)
            except InvalidInput as error:
                line = error.details.get("line")
                if line:
                    context["line_errors"] = [{"line": line, "message": error.message}]
                else:
                    field = error.details.get("field")
                    form.add_error(field if field in form.fields else "file", error.message)
    return render(request, "inference/goldenset_new.html", context, status=status)


def _create(request: HttpRequest, form: GoldenSetForm) -> HttpResponse:
    data = form.cleaned_data
    if data["file"].size > MAX_BYTES:
        raise InvalidInput(
            gettext("A golden set has at most 5 MB. Split it, or keep the telling examples."),
            code="too_large",
        )
    made = create_golden_set(
        actor=actor_of(request), model_id=data["model_id"], name=data["name"], data=data["file"].read()
    )
    messages.success(
        request, gettext("%(made)s with %(size)s examples was added.", made=made.name, size=made.size)
    )
    return redirect("goldenset_list")
