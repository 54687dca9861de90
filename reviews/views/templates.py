"""Checklist templates: the versions, one of them, and an admin's upload of the next one with what it would change."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language

from registry import queries as registry_queries
from registry.access import MEMBER, access, actor_of, member
from registry.enums import Scope
from registry.permissions import Action, check, reason_against
from registry.views.pages import page_of, try_on_form
from registry.words import gettext
from reviews.checklists import localised, templates
from reviews.checklists.template import diff, parse
from reviews.forms import TemplateForm


@access(get=MEMBER)
def template_list(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    current = templates.shown_version(actor.in_team)
    page = page_of(request, templates.versions_of(actor.in_team))
    refusal = reason_against(actor, Action.MANAGE_TEMPLATES)
    return render(
        request, "reviews/template_list.html", {"page_obj": page, "current": current, "refusal": refusal}
    )


@access(get=MEMBER)
def template_detail(request: HttpRequest, pk: int) -> HttpResponse:
    version = registry_queries.get_or_404(templates.versions_of(actor_of(request).in_team), pk=pk)
    previous = version.template.versions.filter(number__lt=version.number).order_by("-number").first()
    items = [localised(item, get_language() or "en") for item in version.items]
    changes = diff(previous.items, version.items) if previous else []
    context = {"version": version, "items": items, "previous": previous, "changes": changes}
    return render(request, "reviews/template_detail.html", context)


@access(get=member(Scope.ADMIN), post=member(Scope.ADMIN))
def template_new(request: HttpRequest) -> HttpResponse:
    """First what would change, then (`save`) the new version."""
    actor = actor_of(request)
    check(actor, Action.MANAGE_TEMPLATES)
    current = templates.shown_version(actor.in_team)
    form = TemplateForm(request.POST or None, initial={"source": current.source})
    changes, status = None, 200
    if request.method == "POST" and form.is_valid():
        source, note = form.cleaned_data["source"], form.cleaned_data["note"]
        if "save" in request.POST:
            made, status = try_on_form(
                form, lambda: templates.add_version(actor=actor, source=source, note=note)
            )
            if made:
                messages.success(
                    request,
                    gettext("%(version)s is what new requests are asked from now on.", version=made.label),
                )
                return redirect("template_list")
        else:
            changes, status = try_on_form(form, lambda: diff(current.items, parse(source).items))
    context = {"form": form, "current": current, "changes": changes}
    return render(request, "reviews/template_new.html", context, status=status or 200)
