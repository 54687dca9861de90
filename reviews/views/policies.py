"""Policies: what is in force, the editor with its simulator, the versions and what changed between them."""

from __future__ import annotations

import re
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy as _

from registry import permissions, queries
from registry.access import MEMBER, access, actor_of, member
from registry.actors import Actor
from registry.enums import Scope, Status
from registry.exceptions import NotFound
from registry.permissions import Action
from registry.views.pages import try_on_form
from registry.words import gettext, lowered
from reviews.differences import Row, difference
from reviews.forms import PolicyForm
from reviews.models import PolicyState, PolicyVersion
from reviews.policies.documents import PolicyError, default_policy, read_policy
from reviews.policies.facts import CATALOGUE
from reviews.policies.gate import in_words, policies_in_force
from reviews.policies.simulator import simulate, touched
from reviews.queries import policy_versions_of
from reviews.services.policies import MOVES, move_policy, save_policy

MAX_ROWS = 600  # of what a version changed
EXAMPLES = (
    (_("No file that is never served"), "size(formats.quarantined) == 0"),
    (_("Only open licences"), 'licence.category in ["Permissive", "Public Domain"]'),
    (_("Fast enough"), "latency.p95_ms <= 50.0"),
    (_("No worse than what is live, where it can be compared"),
     "!has(regression.accuracy_drop) || regression.accuracy_drop <= 0.01"),
    (_("No warning about a pickle"), 'findings.list.all(f, !f.path.endsWith(".bin"))'),
    (_("The card speaks of limitations"), '"limitations" in card.sections'),
)  # fmt: skip
ACTIONS = {
    PolicyState.DRY_RUN: (
        _("Put on a dry run"),
        _("Its results are shown on revisions; it blocks nothing."),
        "plain",
    ),
    PolicyState.IN_FORCE: (
        _("Put in force"),
        _("What violates it cannot be approved from now on."),
        "primary",
    ),
    PolicyState.RETIRED: (_("Retire"), _("It judges nothing any more."), "danger"),
}
NEW = """policy: our-rules
title: What our team asks for besides
rules:
  - key: limitations_stated
    title: The card speaks of limitations
    environments: [production]
    require: '"limitations" in card.sections'
    effect: warn
    message: The model card says nothing of its limitations.
    who: the author of the model
"""


@access(get=MEMBER)
def policy_list(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    standing = policies_in_force(actor.in_team.pk, dry_run=True)
    counts, left_out = touched(actor, standing)
    newest = {v.policy.key: v for v in policy_versions_of(actor).defer("source").order_by("number")}
    rows = [
        {
            "policy": p,
            "newest": newest.get(p.document.key),
            "effects": _effects(p.document.rules),
            "touches": counts[p.document.key, p.number],
        }
        for p in standing
    ]
    rest = [v for key, v in sorted(newest.items()) if key not in {p.document.key for p in standing}]
    context = {"rows": rows, "rest": rest, "left_out": left_out, **_may_edit(actor)}
    return render(request, "reviews/policy_list.html", context)


def _effects(rules: Any) -> str:
    counts = {effect: sum(rule.effect == effect for rule in rules) for effect in ("fail", "warn", "info")}
    return ", ".join(f"{number} {effect}" for effect, number in counts.items() if number)


def _may_edit(actor: Actor) -> dict[str, str]:
    return {"why_not": permissions.reason_against(actor, Action.EDIT_POLICY)}


@access(get=MEMBER)
def policy_detail(request: HttpRequest, key: str) -> HttpResponse:
    actor = actor_of(request)
    versions = list(policy_versions_of(actor).filter(policy__key=key).order_by("-number"))
    if not versions and key != default_policy().key:
        raise NotFound(
            gettext("There is no such policy in your team. Check the address, or switch the team.")
        )
    shown = next(
        (v for v in versions if str(v.number) == request.GET.get("version")),
        versions[0] if versions else None,
    )
    source = shown.source if shown else default_policy().source
    context = {
        "key": key,
        "versions": versions,
        "rules": _rules(source),
        "shown": shown,
        "source": source,
        "title": in_words(shown.title if shown else default_policy().title),
        "diff": _diff(versions, shown),
        "actions": _actions(actor, shown) if shown else [],
        **_may_edit(actor),
    }
    return render(request, "reviews/policy_detail.html", context)


_HOLE = re.compile(r"\{[a-z_.]+\}")  # a fact that is filled in when the rule judges something
EFFECTS = {
    "fail": Status(_("blocks"), "circle-x", "bad"),
    "warn": Status(_("warns"), "alert-triangle", "attention"),
    "info": Status(_("informs"), "info-circle", "info"),
}


def _rules(source: str) -> list[dict[str, Any]]:
    """The rules as people read them; the YAML stands below."""
    return [
        {
            "rule": rule,
            "title": in_words(rule.title),
            "message": _HOLE.sub("…", in_words(rule.message)),
            "who": in_words(rule.who),
            "effect": EFFECTS[rule.effect],
            "where": ", ".join(sorted([*rule.environments, *rule.tiers])),
        }
        for rule in read_policy(source).rules
    ]


def _diff(versions: list[PolicyVersion], shown: PolicyVersion | None) -> list[Row]:
    """What `shown` changed against the version before it; the first one against what is shipped under its name."""
    if shown is None:
        return []
    before = next((v.source for v in versions if v.number == shown.number - 1), None)
    if before is None:
        before = default_policy().source if shown.policy.key == default_policy().key else ""
    return difference(before.splitlines(), shown.source.splitlines())[:MAX_ROWS]


def _actions(actor: Actor, version: PolicyVersion) -> list[dict[str, Any]]:
    reason = permissions.reason_against(actor, Action.EDIT_POLICY)
    found = []
    for state, (label, consequence, tone) in ACTIONS.items():
        if version.state in MOVES[state]:
            found.append(
                {
                    "label": label,
                    "consequence": consequence,
                    "tone": tone,
                    "state": state.value,
                    "reason": reason,
                }
            )
    return found


@access(get=MEMBER, post=member(Scope.ADMIN))
def policy_edit(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    key, status = request.GET.get("policy", "")[:60], 200
    form = PolicyForm(request.POST or None, initial=_start(actor, key))
    if request.method == "POST":
        permissions.check(actor, Action.EDIT_POLICY)
        status = 422
        if form.is_valid():
            version, status = try_on_form(form, lambda: _save(actor, form.cleaned_data))
            if version:
                messages.success(
                    request,
                    gettext(
                        "Version %(number)s is saved as a draft. It judges nothing yet.",
                        number=version.number,
                    ),
                )
                return redirect("policy_detail", version.policy.key)
    context = {"form": form, "facts": CATALOGUE, "examples": EXAMPLES, "key": key, **_may_edit(actor)}
    return render(request, "reviews/policy_edit.html", context, status=status)


def _start(actor: Actor, key: str) -> dict[str, Any]:
    newest = policy_versions_of(actor).filter(policy__key=key).order_by("-number").first()
    if newest:
        return {"source": newest.source, "seen": newest.number}
    return {"source": default_policy().source if key == default_policy().key else NEW, "seen": 0}


def _save(actor: Actor, data: dict[str, Any]) -> PolicyVersion:
    return save_policy(actor=actor, source=data["source"].replace("\r\n", "\n"), seen=data["seen"])


@access(post=MEMBER)
def policy_simulate(request: HttpRequest) -> HttpResponse:
    """The preview below the editor: what would flip, or where the text is wrong."""
    source = request.POST.get("source", "").replace("\r\n", "\n")
    try:
        context: dict[str, Any] = {"simulation": simulate(actor=actor_of(request), source=source)}
    except PolicyError as error:
        context = {"problem": error.message}
    return render(request, "reviews/_simulation.html", context)


@access(post=member(Scope.ADMIN))
def policy_move(request: HttpRequest, pk: int) -> HttpResponse:
    actor = actor_of(request)
    version = queries.get_or_404(policy_versions_of(actor), pk=pk)
    moved = move_policy(actor=actor, version_pk=version.pk, state=request.POST.get("state", ""))
    messages.success(
        request,
        gettext(
            "Version %(number)s of %(key)s: %(state)s.",
            number=moved.number,
            key=version.policy.key,
            state=lowered(moved.shown_state.label),
        ),
    )
    return redirect("policy_detail", version.policy.key)
