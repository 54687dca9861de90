"""Reviews: the list, submitting, and the page where people answer and decide."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext_lazy, gettext_noop

from registry import queries as registry_queries
from registry.access import MEMBER, access, actor_of, member
from registry.actors import Actor
from registry.enums import Scope
from registry.exceptions import DomainError
from registry.permissions import Action, check
from registry.rendering import card_html, card_lines
from registry.views.pages import page_of, try_on_form
from registry.words import gettext
from reviews import checklists, permissions
from reviews.changes import changes_between, last_approved_before
from reviews.enums import OPEN_STATUSES, ReviewStatus
from reviews.forms import DecisionForm, SubmitForm
from reviews.models import ReviewRequest
from reviews.queries import requests_of, waiting_for
from reviews.services import deciding, submissions
from reviews.views import answering, comments, items
from reviews.views.decisions import actions_of, vote_context, voted_words
from reviews.views.measurements import benchmark_context
from reviews.views.tiers import shown_tier, tier_of_request
from reviews.votes import missing_votes

WAITS_FOR = {
    ReviewStatus.SUBMITTED: gettext_lazy("a worker"),
    ReviewStatus.CHECKS_RUNNING: gettext_lazy("the checks"),
    ReviewStatus.IN_REVIEW: gettext_lazy("a reviewer"),
    ReviewStatus.CHANGES_REQUESTED: gettext_lazy("its submitter"),
}


@access(get=MEMBER)
def review_list(request: HttpRequest) -> HttpResponse:
    actor, chosen = actor_of(request), request.GET.get("show", "")
    every = requests_of(actor).order_by("-pk")
    tables = {"": (gettext("All"), every), "open": (gettext("Open"), every.filter(status__in=OPEN_STATUSES)),
              "mine": (gettext("Waiting for me"), waiting_for(actor))}  # fmt: skip
    filters = [
        {
            "label": label,
            "url": f"{reverse('review_list')}{f'?show={key}' if key else ''}",
            "active": key == chosen,
        }
        for key, (label, _) in tables.items()
    ]
    page = page_of(request, tables.get(chosen, tables[""])[1])
    for row in page.object_list:
        row.created_at = row.submitted_at
    page.object_list = [
        {
            "request": row,
            "status": row.shown_status,
            "waits_for": WAITS_FOR.get(ReviewStatus(row.status), gettext_lazy("nobody")),
        }
        for row in page.object_list
    ]
    return render(request, "reviews/review_list.html", {"page_obj": page, "filters": filters})


@access(get=MEMBER, post=member(Scope.SUBMIT))
def review_new(request: HttpRequest) -> HttpResponse:
    actor = actor_of(request)
    check(actor, Action.SUBMIT_MODEL)
    form = SubmitForm(
        request.POST or None,
        initial={"model_id": request.GET.get("model", ""), "owner": actor.user.display_name},
    )
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            made, status = try_on_form(
                form,
                lambda: submissions.submit_model(
                    actor=actor, submission=submissions.check_submission(**form.cleaned_data)
                ),
            )
            if made:
                messages.success(
                    request,
                    gettext("%(model_id)s is submitted. Its checks run now.", model_id=made.model.model_id),
                )
                return redirect("review_detail", made.pk)
    tier = shown_tier(str(form["data_class"].value()), str(form["environment"].value()), "")
    return render(
        request, "reviews/submit.html", {"form": form, "preview": None, "tier": tier}, status=status
    )


@access(get=member(Scope.SUBMIT))
def review_lookup(request: HttpRequest) -> HttpResponse:
    """htmx: what the Hub says of the model id as it is typed."""
    actor, typed = actor_of(request), request.GET.get("model_id", "").strip()
    preview: dict[str, Any] | None = None
    if typed:
        try:
            found = submissions.look_up(actor=actor, model_id=typed, revision=request.GET.get("revision", ""))
            formats = sorted(
                {f.path.rsplit(".", 1)[-1] for f in found.files if f.path.endswith((".safetensors", ".bin"))}
            )
            preview = {
                "model_id": found.model_id,
                "commit_sha": found.commit_sha,
                "pipeline_tag": found.pipeline_tag,
                "license": found.license,
                "size": found.total_size,
                "formats": formats,
                "blockers": found.blockers,
                "warnings": found.warnings,
            }
        except DomainError as error:
            preview = {"error": error.message}
    return render(request, "reviews/_preview.html", {"preview": preview})


def _request(actor: Actor, pk: int) -> ReviewRequest:
    return registry_queries.get_or_404(requests_of(actor).select_related("model__team"), pk=pk)


def _waiting_note(review: ReviewRequest) -> str:
    if review.problem and review.is_open:
        return review.problem
    if review.status in (ReviewStatus.SUBMITTED, ReviewStatus.CHECKS_RUNNING):
        return gettext(
            "A worker downloads and checks every file now. The checklist opens when it is done; this "
            "takes a minute or two."
        )
    if review.decision and review.decision_by:
        reason = f" {review.decision_reason}" if review.decision_reason else ""
        conditions = f" Conditions: {review.conditions}" if review.conditions else ""
        return gettext(
            "%(decision)s by %(by)s.%(reason)s%(conditions)s",
            decision=review.get_decision_display(),
            by=review.decision_by.display_name,
            reason=reason,
            conditions=conditions,
        )
    return ""


def _changes(review: ReviewRequest) -> dict[str, Any]:
    """Against the review that this one follows, else against what was approved last."""
    if review.revision is None:
        return {}
    before = review.follows.revision if review.follows else last_approved_before(review.revision)
    carried = review.answers.filter(carried_from__isnull=False).count() if review.follows_id else 0
    found = changes_between(before, review.revision)
    return {"changes": found, "carried": {"done": carried, "asked": len(review.checklist) - carried}}


def _context(
    actor: Actor,
    review: ReviewRequest,
    decision_form: DecisionForm | None = None,
    bound: dict[str, answering.Refused] | None = None,
) -> dict[str, Any]:
    review.created_at = review.submitted_at  # type: ignore[attr-defined]
    writable = not permissions.reason_against(permissions.check_answer, actor, review)
    evidence = permissions.evidence_of(review) if review.revision_id else []
    newest = {row.kind: row for row in reversed(evidence)}
    threads = comments.threads_by_key(review)
    found = items.items_of(actor, review, evidence, writable, bound or {})
    for item in found:
        item["threads"] = threads.get(item["key"], [])
    answers = [item["answer"] for item in found if item["answer"]]
    deciding_now = review.status == ReviewStatus.IN_REVIEW
    measuring = permissions.open_measurements(review) if deciding_now else 0
    missing = (
        permissions.missing_for_approval(review, answers, evidence, measuring, review.conditions)
        if deciding_now
        else []
    )
    can_decide = deciding_now and not permissions.reason_against(permissions.check_decide, actor, review)
    if decision_form is None and can_decide:
        decision_form = DecisionForm(
            initial={"content_sha256": deciding.content_sha256(review), "conditions": review.conditions}
        )
    evaluation, benchmark = newest.get("evaluation"), newest.get("benchmark")
    return {
        "request_": review,
        "status": review.shown_status,
        "tier": tier_of_request(review),
        "revision": review.revision,
        "items": found,
        "sections": items.sections_of(found),
        "review_findings": checklists.findings(review, answers),
        "config_lines": items.config_lines(review),
        "can_decide": can_decide,
        "can_comment": not permissions.reason_against(permissions.check_comment, actor, review),
        "general": {"key": "", "threads": threads.get("", [])},
        "can_answer": writable,
        "progress": {"done": len(answers), "total": len(review.checklist)},
        "card_html": card_html(review.revision.card_text) if review.revision else "",
        "card_lines": card_lines(review.revision.card_text) if review.revision else [],
        "decision_form": decision_form,
        "actions": actions_of(actor, review, missing),
        **vote_context(review, writable),
        "evidence": {
            "evaluation": {**evaluation.data, "summary": ""} if evaluation else None,
            "benchmark": {**(benchmark_context(benchmark) or {}), "summary": ""} if benchmark else None,
            "facts": [],
        }
        if review.revision
        else None,
        "missing": missing + (missing_votes(review) if deciding_now else []),
        "waiting_note": _waiting_note(review),
    }


def _page(request: HttpRequest, review: ReviewRequest, status: int = 200, **extra: Any) -> HttpResponse:
    context = _context(actor_of(request), review, **extra) | _changes(review)
    return render(request, "reviews/review_detail.html", context, status=status)


@access(get=MEMBER, post=member(Scope.REVIEW))
def review_detail(request: HttpRequest, pk: int) -> HttpResponse:
    """The page; POST saves every answered item at once (works without JavaScript)."""
    actor = actor_of(request)
    review = _request(actor, pk)
    if request.method != "POST":
        return _page(request, review)
    refused = answering.save_page(request, actor, review)
    if refused is None:
        return redirect("review_detail", pk)
    status, bound = refused
    return _page(request, _request(actor, pk), status, bound=bound)


@access(post=member(Scope.REVIEW))
def review_answer(request: HttpRequest, pk: int, key: str) -> HttpResponse:
    """htmx: saves one item as it is left, and gives the item, the progress and the buttons anew."""
    actor = actor_of(request)
    review = _request(actor, pk)
    seen, before = request.POST.get("content_sha256", ""), deciding.content_sha256(review)
    form, status = answering.save_item(request, actor, review, key)
    bound = {key: form} if form else {}
    context = _context(actor, _request(actor, pk), bound=bound)
    if context["decision_form"] and seen != before:
        # Somebody else changed an answer that this page does not show: a decision from it must still be refused.
        context["decision_form"].initial["content_sha256"] = seen
    context |= answering.saved_context(context, key)
    return render(request, "reviews/_answer_saved.html", context, status=status)


def _decision(
    request: HttpRequest,
    pk: int,
    act: Callable[[Actor, dict[str, str]], ReviewRequest],
    done: str | Callable[[ReviewRequest], str],
) -> HttpResponse:
    actor = actor_of(request)
    review = _request(actor, pk)
    form = DecisionForm(request.POST)
    form.is_valid()
    result, status = try_on_form(form, lambda: act(actor, form.cleaned_data))
    if result:
        said = gettext(done, model=review.model.model_id) if isinstance(done, str) else done(result)
        messages.success(request, said)
        return redirect("review_detail", pk)
    for error in form.non_field_errors():
        messages.error(request, str(error))
    review = _request(actor, pk)
    # The page below shows the answers as they are now, so the next decision is one on these.
    typed = request.POST.copy()
    typed["content_sha256"] = deciding.content_sha256(review)
    form.data = typed
    return _page(request, review, status, decision_form=form)


@access(post=member(Scope.REVIEW))
def review_decide(request: HttpRequest, pk: int) -> HttpResponse:
    decision = request.POST.get("decision", "")

    def act(actor: Actor, data: dict[str, str]) -> ReviewRequest:
        return deciding.decide(
            actor=actor,
            request_pk=pk,
            decision=decision,
            reason=data.get("reason", ""),
            conditions=data.get("conditions", ""),
            seen_sha256=data.get("content_sha256", ""),
        )

    return _decision(request, pk, act, voted_words)


@access(post=member(Scope.REVIEW))
def review_changes(request: HttpRequest, pk: int) -> HttpResponse:
    def act(actor: Actor, data: dict[str, str]) -> ReviewRequest:
        return deciding.request_changes(actor=actor, request_pk=pk, reason=data.get("reason", ""))

    return _decision(request, pk, act, gettext_noop("%(model)s went back to its submitter."))


@access(post=member(Scope.SUBMIT))
def review_withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    def act(actor: Actor, data: dict[str, str]) -> ReviewRequest:
        return submissions.withdraw(actor=actor, request_pk=pk)

    return _decision(request, pk, act, gettext_noop("The submission of %(model)s is withdrawn."))


@access(post=member(Scope.SUBMIT))
def review_resubmit(request: HttpRequest, pk: int) -> HttpResponse:
    def act(actor: Actor, data: dict[str, str]) -> ReviewRequest:
        return submissions.resubmit(actor=actor, request_pk=pk)

    return _decision(request, pk, act, gettext_noop("%(model)s is submitted again. Its checks run now."))
