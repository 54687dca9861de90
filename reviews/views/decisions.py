"""The deciding part of a review's page: votes, the decision record, the buttons."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from registry import queries
from registry.access import access, actor_of, member
from registry.actors import Actor
from registry.enums import ApprovalStatus, Scope
from registry.exceptions import Conflict, InvalidInput
from registry.models import Approval
from registry.words import english, gettext, joined, lowered
from reviews import permissions, records, votes
from reviews.enums import DataClass, Decision, Environment, ReviewStatus
from reviews.models import ReviewRequest, Vote
from reviews.queries import requests_of
from reviews.record_form import RecordForm
from reviews.services.recording import save_record


def shown_votes(review: ReviewRequest) -> list[Vote]:
    """Every vote with how it stands now."""
    found = list(review.votes.select_related("reviewer").order_by("pk"))
    for vote in found:
        vote.verdict, vote.comment, vote.by = vote.get_decision_display(), vote.reason, vote.reviewer  # type: ignore[attr-defined]
        vote.standing = votes.status_of(vote, review) if review.is_open else ""  # type: ignore[attr-defined]
    return found


def vote_context(review: ReviewRequest, is_writable: bool, form: RecordForm | None = None) -> dict[str, Any]:
    """`votes`, `tally` and the record, for the review's page."""
    return {
        "votes": shown_votes(review),
        "tally": votes.tally(review) if review.revision_id and review.content_sha256 else None,
        "record": record_rows(review),
        "record_form": form or (RecordForm(review, initial=_initial(review)) if is_writable else None),
    }


def _initial(review: ReviewRequest) -> dict[str, Any]:
    return {
        **review.terms(),
        "use_cases": records.use_cases_text(review.use_cases),
        "monitoring": records.monitoring_text(review.monitoring),
        "expires_at": review.expires_at.date() if review.expires_at else None,
        "owner": review.owner,
    }


def record_rows(source: ReviewRequest | Approval) -> list[tuple[str, Any]]:
    """The terms as lines for people; on the review's page, on the revision's page and beside the approval."""
    environments, classes = dict(Environment.choices), dict(DataClass.choices)
    return [
        (_("Environments"), ", ".join(str(environments.get(e, e)) for e in source.allowed_environments)),
        (_("Use cases"), "\n".join(f"{r['slug']}: {r['text']}" for r in source.use_cases)),
        (_("Data"), ", ".join(str(classes.get(c, c)) for c in source.data_classes)),
        (_("Conditions"), source.conditions),
        (_("Watched"), records.monitoring_text(source.monitoring)),
        (_("Rollback"), rollback_words(source)),
        (_("Fallback"), source.fallback),
        (_("Data policy"), source.data_policy),
        (_("Owner"), source.owner),
        (_("Looked at again"), f"{source.review_by:%Y-%m-%d}" if source.review_by else ""),
        (_("Ends"), f"{source.expires_at:%Y-%m-%d}" if source.expires_at else ""),
    ]


def voted_words(review: ReviewRequest) -> str:
    """What a vote led to."""
    name = review.model.model_id
    if review.decision:
        return gettext(
            "%(name)s is decided: %(decision)s.",
            name=name,
            decision=lowered(review.get_decision_display()),
        )
    if review.votes.order_by("-pk").values_list("decision", flat=True).first() == Decision.NEEDS_LEGAL_REVIEW:
        return gettext("A legal reviewer is asked about %(name)s now.", name=name)
    cast = gettext("Your vote for %(name)s is cast: %(words)s.", name=name, words=votes.tally(review).words)
    return joined([cast, *votes.missing_votes(review)])


def rollback_words(source: ReviewRequest | Approval) -> str:
    target = source.rollback_approval
    if target is None:
        return source.rollback_target
    note = f"; {source.rollback_target}" if source.rollback_target else ""
    state = lowered(ApprovalStatus(target.status).label)
    return gettext(
        "%(sha)s (%(state)s for %(environment)s)%(note)s",
        sha=target.revision.short_sha,
        state=state,
        environment=target.environment,
        note=note,
    )


def actions_of(actor: Actor, review: ReviewRequest, missing: list[str]) -> list[dict[str, Any]]:
    """The buttons, each with the sentence that says why it cannot be pressed."""
    deciding = permissions.reason_against(permissions.check_decide, actor, review)
    approving = deciding or permissions.reason_against(votes.check_may_approve, actor, review)
    blocking = [sentence for sentence in missing if not english(sentence).startswith("Write the conditions")]
    if not approving and blocking:
        approving = ngettext(
            "%(count)s thing is still missing; see the list.",
            "%(count)s things are still missing; see the list.",
            len(blocking),
        ) % {"count": len(blocking)}
    if not approving and review.content_sha256:
        approving = permissions.reason_against(votes.check_not_repeated, actor, review, review.content_sha256)
    found: list[dict[str, Any]] = []
    if review.status == ReviewStatus.IN_REVIEW:
        decide = reverse("review_decide", args=[review.pk])
        found += [
            _button(_("Approve"), decide, approving, "primary", Decision.APPROVED),
            _button(_("Request changes"), reverse("review_changes", args=[review.pk]), deciding),
            _button(_("Reject"), decide, deciding, "danger", Decision.REJECTED),
        ]
        if not review.legal_asked:
            found.insert(2, _button(_("Ask legal"), decide, deciding, "plain", Decision.NEEDS_LEGAL_REVIEW))
    if review.is_open:
        again = permissions.reason_against(permissions.check_resubmit, actor, review)
        if review.status == ReviewStatus.CHANGES_REQUESTED and not again:
            found.append(
                _button(_("Submit again"), reverse("review_resubmit", args=[review.pk]), "", "primary")
            )
        if review.submitted_by_id == actor.user.pk:
            found.append(_button(_("Withdraw"), reverse("review_withdraw", args=[review.pk]), ""))
    return found


def _button(label: str, url: str, reason: str, tone: str = "plain", value: str = "") -> dict[str, Any]:
    name = "decision" if value else ""
    return {
        "label": label, "url": url, "name": name, "value": value, "tone": tone, "allowed": not reason, "reason": reason,
    }  # fmt: skip


@access(post=member(Scope.REVIEW))
def review_record(request: HttpRequest, pk: int) -> HttpResponse:
    """Saves the decision record; what cannot be is said at its field, and nothing typed is lost."""
    actor = actor_of(request)
    review = queries.get_or_404(requests_of(actor).select_related("model__team"), pk=pk)
    form = RecordForm(review, request.POST)
    form.is_valid()
    before = review.risk.tier
    try:
        saved = save_record(actor=actor, request_pk=pk, record=form.cleaned_data)
    except (InvalidInput, Conflict) as error:
        field = error.details.get("field")
        form.add_error(field if field in form.fields else None, error.message)
        return render(
            request, "reviews/record.html", {"request_": review, "record_form": form}, status=error.status
        )
    words = gettext("The decision record is saved. Votes cast before it changed are cast again.")
    if saved.risk.tier != before:
        words = joined(
            [
                words,
                gettext(
                    "What it allows is %(tier)s risk now: %(votes)s given.",
                    tier=saved.risk.tier,
                    votes=votes.tally(saved).words,
                ),
            ]
        )
    messages.success(request, words)
    return redirect(f"{reverse('review_detail', args=[pk])}#record")
