"""Audit, tokens, and the choice of the team."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.views import LoginView as DjangoLoginView
from django.contrib.auth.views import LogoutView as DjangoLogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters

from registry import audit, checkpoints, queries, verification
from registry.access import ANYONE, MEMBER, SIGNED_IN, access, actor_of, rules
from registry.exceptions import NotFound
from registry.forms import AuditFilterForm, PasswordForm, TokenForm
from registry.models import ApiToken
from registry.permissions import Action, reason_against
from registry.services.passwords import change_password, check_can_change
from registry.services.tokens import create_token, revoke_token
from registry.views.pages import go_back, page_of, try_on_form
from registry.words import gettext


@method_decorator(sensitive_post_parameters("password"), name="dispatch")
class LoginView(DjangoLoginView):
    access = rules(get=ANYONE, post=ANYONE)
    redirect_authenticated_user = False


class LogoutView(DjangoLogoutView):
    access = rules(post=SIGNED_IN)
    http_method_names = ["post"]


@access(get=MEMBER)
def audit_list(request: HttpRequest) -> HttpResponse:
    form = AuditFilterForm(request.GET or None)
    rows = queries.events_of(actor_of(request)).order_by("-seq")
    if form.is_valid():
        rows = _filtered(rows, form.cleaned_data)
    page = page_of(request, rows, per_page=50)
    page.object_list = audit.shown(list(page.object_list))
    context: dict[str, Any] = {"page_obj": page, "filter_form": form}
    context["export_reason"] = reason_against(actor_of(request), Action.EXPORT_RECORD)
    context["chains"] = [checkpoints.state_of(chain) for chain in checkpoints.CHAINS]
    if request.GET.get("verify"):
        context["verification"] = _verification()
    return render(request, "registry/audit_list.html", context)


def _verification() -> dict[str, Any]:
    """Both chains; the first problem is the sentence."""
    found = [verification.verify_chain(chain) for chain in checkpoints.CHAINS]
    bad = next((one for one in found if not one.ok), None)
    problem = bad.problem if bad else ""
    return {
        "ok": bad is None,
        "length": sum(one.length for one in found),
        "head": found[0].head,
        "sentence": gettext(
            "The chain is broken. %(problem)s Tell whoever runs Assay now, and keep the database as it is.",
            problem=problem,
        ),
    }


def _filtered(rows: Any, wanted: dict[str, Any]) -> Any:
    if wanted["verb"]:
        rows = rows.filter(verb__icontains=wanted["verb"])
    if wanted["about"]:  # what an event is about stands in its body: model, commit, channel, policy
        rows = rows.filter(body__icontains=wanted["about"].strip())
    if wanted["person"]:
        rows = rows.filter(actor_id__in=queries.people_named(wanted["person"]))
    if wanted["since"]:
        rows = rows.filter(at__date__gte=wanted["since"])
    return rows


@access(get=SIGNED_IN, post=SIGNED_IN)
def token_list(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    form = TokenForm(request.POST or None)
    new_token, status = "", 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            made, status = try_on_form(form, lambda: create_token(actor=actor, **form.cleaned_data))
            if made:
                new_token, form, status = made[1], TokenForm(), 201
    tokens = ApiToken.objects.filter(user=actor.user).order_by("-pk")
    context = {"tokens": tokens, "form": form, "new_token": new_token}
    return render(request, "registry/token_list.html", context, status=status)


@access(get=SIGNED_IN, post=SIGNED_IN)
@sensitive_post_parameters()
def password(request: HttpRequest) -> HttpResponse:
    """One's own password. The session that asks stays; all others of this person end."""
    actor = actor_of(request)
    check_can_change(actor)
    form, status = PasswordForm(actor.user, request.POST or None), 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            change_password(actor=actor, new=form.cleaned_data["new_password1"])
            update_session_auth_hash(request, actor.user)
            messages.success(request, _("Your password is changed. Every other session of yours has ended."))
            return redirect("home")
    return render(request, "registry/password.html", {"form": form}, status=status)


@access(post=SIGNED_IN)
def token_revoke(request: HttpRequest, pk: int) -> HttpResponse:
    token = revoke_token(actor=actor_of(request), token_pk=pk)
    messages.success(request, gettext("The token %(token)s does not work any more.", token=token.name))
    return redirect("token_list")


@access(post=SIGNED_IN)
def team_switch(request: HttpRequest) -> HttpResponse:
    wanted = request.POST.get("team", "")
    team = next((team for team in getattr(request, "teams", []) if team.slug == wanted), None)
    if team is None:
        raise NotFound(gettext("You are not a member of that team."))
    request.session["team_id"] = team.pk
    messages.success(request, gettext("You work for %(team)s now.", team=team.name))
    return go_back(request, "home")
