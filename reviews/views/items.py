"""The checklist as the review page shows it: sections, items, what is suggested, what was answered, and a form each."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from django.utils.translation import get_language

from registry.actors import Actor
from registry.models import Evidence
from registry.rendering import card_lines
from reviews import checklists, permissions
from reviews.checklists.answers import reading_of
from reviews.checklists.reading import Source, Suggestion
from reviews.checklists.typed import shown_value
from reviews.enums import SuggestionState, Verdict
from reviews.forms import AnswerForm, fields_digest
from reviews.models import Answer, ReviewRequest

PREFIXES = {"README.md": "L", "config.json": "C"}  # ids of the lines that the page shows


def items_of(
    actor: Actor, review: ReviewRequest, evidence: list[Evidence], writable: bool, bound: dict[str, Any]
) -> list[dict[str, Any]]:
    """`bound` are the refused answers {key: Refused}: they are shown as they were typed."""
    if review.revision is None:
        return []
    language = get_language() or "en"
    answers = {
        a.key: a
        for a in review.answers.select_related("by", "carried_from__by", "carried_from__request__revision")
    }
    offered = checklists.suggestions_for(review, evidence)
    risk = review.risk.tier
    found = []
    for number, frozen in enumerate(review.checklist, start=1):
        item = checklists.localised(frozen, language)
        key = frozen["key"]
        refusal = permissions.reason_against(permissions.check_item, actor, review, item) if writable else ""
        refused = bound.get(key)
        form = refused.form if refused else None
        if form is None and writable and not refusal:
            form = _form(item, answers.get(key), offered.get(key))
        found.append(
            {
                **item,
                "number": number,
                "is_required": checklists.is_required(frozen, risk),
                "suggestion": _suggestion(item, offered.get(key), language),
                "answer": _shown(item, answers.get(key), language),
                "form": form,
                # Nothing to do here unless somebody wants to; a refused save must stand open.
                "is_folded": bool((answer := answers.get(key)) and answer.carried_from_id) and not refused,
                "clash": refused.clash if refused else None,
                "refusal": refusal,
            }
        )
    return found


def _form(item: dict[str, Any], answer: Answer | None, offered: Suggestion | None) -> AnswerForm:
    """Filled with the answer, else with what is suggested: to correct is to edit, not to write anew."""
    # A judgement starts as acceptable: one that is not says so by its option, or by choosing “Concern”.
    verdict, value, text = str(Verdict.ACCEPTABLE), None, ""
    if answer:
        verdict, value, text = answer.verdict, answer.value, answer.text
    elif offered:
        verdict, value, text = str(offered.verdict), offered.value, offered.text
    initial = {
        "verdict": verdict,
        "value": "" if value is None else value,
        "text": text,
        "version": answer.version if answer else 0,
        "seen": fields_digest(verdict, value, text),
    }
    return AnswerForm(initial=initial, prefix=item["key"], item=item)


def _suggestion(item: dict[str, Any], offered: Suggestion | None, language: str) -> dict[str, Any] | None:
    if offered is None:
        return None
    return {
        "is_silent": offered.is_silent,
        "is_concern": offered.verdict == Verdict.CONCERN,
        "value": shown_value(item, offered.value, language),
        "text": offered.text,
        "sources": [_source(source) for source in offered.sources],
        "sha256": offered.as_dict()["sha256"],
    }


def _source(source: Source) -> dict[str, Any]:
    return {
        "label": source.label,
        "commit": source.commit[:7],
        "quote": source.quote,
        "prefix": PREFIXES.get(source.path, ""),
        "start": source.lines[0] if source.lines else None,
        "end": source.lines[1] if source.lines else None,
        "url": reverse("run_detail", args=[source.run]) if source.run else "",
    }


def _shown(item: dict[str, Any], answer: Answer | None, language: str) -> Answer | None:
    if answer is not None:
        answer.shown_value = shown_value(item, answer.value, language)  # type: ignore[attr-defined]
        answer.is_accepted = answer.suggestion_state == SuggestionState.ACCEPTED  # type: ignore[attr-defined]
        answer.is_corrected = answer.suggestion_state == SuggestionState.CORRECTED  # type: ignore[attr-defined]
    return answer


def sections_of(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The accordion. Open: the first section with something to do, and every one where a save was refused."""
    sections: dict[str, dict[str, Any]] = {}
    for item in items:
        empty = {"key": item.get("section", ""), "title": item.get("section_title", ""), "items_": []}
        sections.setdefault(item.get("section", ""), empty)["items_"].append(item)
    rows = list(sections.values())
    for section in rows:
        section["done"] = sum(1 for item in section["items_"] if item["answer"])
        section["total"] = len(section["items_"])
        section["is_open"] = any(
            item["form"] is not None and item["form"].is_bound for item in section["items_"]
        )
    unfinished = next(
        (section for section in rows if section["done"] < section["total"]), rows[0] if rows else None
    )
    if unfinished:
        unfinished["is_open"] = True
    return rows


def config_lines(review: ReviewRequest) -> list[dict[str, object]]:
    """config.json with line numbers, beside the card."""
    return card_lines("\n".join(reading_of(review, []).config_lines)) if review.revision else []
