"""Saving answers from the page: one item as it is left, or all at once without JavaScript."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import get_language, ngettext

from registry.actors import Actor
from registry.exceptions import Conflict, DomainError, InvalidInput
from registry.words import gettext
from reviews import checklists, permissions
from reviews.checklists.typed import shown_value
from reviews.enums import Verdict
from reviews.forms import AnswerForm
from reviews.models import ReviewRequest
from reviews.services.answering import save_answers

FIELDS = ("verdict", "value", "text", "version")


@dataclass(frozen=True)
class Refused:
    """An answer that was not saved, as it was typed; `clash` is what somebody else has written meanwhile."""

    form: AnswerForm
    clash: dict[str, Any] | None = None


def _form(request: HttpRequest, item: dict[str, Any]) -> AnswerForm:
    shown = checklists.localised(item, get_language() or "en")
    return AnswerForm(request.POST, prefix=item["key"], item=shown)


def _refuse(form: AnswerForm, item: dict[str, Any], error: DomainError) -> Refused:
    """Puts the sentence on the item; after a clash the form knows the new version, so a second save is a decision."""
    if error.code != "stale_answer":
        form.add_error(None, error.message)
        return Refused(form)
    form.with_version(int(error.details["version"]))
    form.is_valid()
    form.add_error(None, error.message)
    theirs = error.details["theirs"]
    return Refused(
        form,
        {
            "by": theirs["by"],
            "verdict": Verdict(theirs["verdict"]).label,
            "value": shown_value(item, theirs["value"], get_language() or "en"),
            "text": theirs["text"],
        },
    )


def save_item(
    request: HttpRequest, actor: Actor, review: ReviewRequest, key: str
) -> tuple[Refused | None, int]:
    """(what was refused or None, HTTP status) of one item's fields, or of its accepted suggestion."""
    permissions.check_answer(actor, review)
    item = next((each for each in review.checklist if each["key"] == key), None)
    if item is None:
        raise InvalidInput(gettext("The checklist has no item %(key)r.", key=key[:40]), code="unknown_item")
    form = _form(request, item)
    form.is_valid()
    given: dict[str, Any] = {name: form.cleaned_data.get(name) for name in FIELDS}
    _, _, accepted = request.POST.get("accept", "").partition(":")
    if accepted:
        given = {"accept": accepted, "version": form.cleaned_data.get("version")}
    try:
        save_answers(actor=actor, request_pk=review.pk, answers={key: given})
    except (InvalidInput, Conflict) as error:
        return _refuse(form, item, error), error.status
    return None, 200


def _is_touched(form: AnswerForm) -> bool:
    """Was something typed since the page was made? A form without that mark counts when it has an answer."""
    seen = form.cleaned_data.get("seen")
    return form.digest() != seen if seen else bool(form.cleaned_data.get("verdict"))


def save_page(
    request: HttpRequest, actor: Actor, review: ReviewRequest
) -> tuple[int, dict[str, Refused]] | None:
    """Saves every item that was touched, and accepts the one whose button was pressed. None: all is saved.

    What can be saved is saved; (status, {key: Refused}) are the others, with every word that was typed.
    """
    permissions.check_answer(actor, review)
    accepted, _, digest = request.POST.get("accept", "").partition(":")
    saved, refused, status = 0, {}, 200
    for item in review.checklist:
        key, form = item["key"], _form(request, item)
        form.is_valid()
        if key == accepted:
            given: dict[str, Any] = {"accept": digest, "version": form.cleaned_data.get("version")}
        elif _is_touched(form):
            given = {name: form.cleaned_data.get(name) for name in FIELDS}
        else:
            continue
        try:
            saved += len(save_answers(actor=actor, request_pk=review.pk, answers={key: given}))
        except (InvalidInput, Conflict) as error:
            refused[key], status = _refuse(form, item, error), error.status
    if saved:
        messages.success(
            request, ngettext("%(n)d answer is saved.", "%(n)d answers are saved.", saved) % {"n": saved}
        )
    if refused:
        messages.error(request, gettext("Some answers were not saved; each says why."))
        return status, refused
    return None


def saved_context(context: dict[str, Any], key: str) -> dict[str, Any]:
    """What the answer's own part of the page needs: the item and its section."""
    section = next(each for each in context["sections"] if any(item["key"] == key for item in each["items_"]))
    return {"item": next(item for item in section["items_"] if item["key"] == key), "section": section}
