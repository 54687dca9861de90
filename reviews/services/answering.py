"""Writing answers: typed, from the suggestion or in own words, and never over words that the writer has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from registry import audit
from registry.actors import Actor
from registry.exceptions import Conflict, InvalidInput
from registry.words import gettext
from reviews import checklists, machines, permissions
from reviews.checklists.reading import Suggestion
from reviews.checklists.typed import check_answer_fields
from reviews.enums import SuggestionState
from reviews.models import Answer, ReviewRequest
from reviews.services.digests import answer_sha256, refresh


@dataclass(frozen=True)
class Written:
    """One answer as it will stand."""

    verdict: str
    value: Any
    text: str
    suggestion: dict[str, Any] | None
    state: str


@transaction.atomic
def save_answers(*, actor: Actor, request_pk: int, answers: Mapping[str, Mapping[str, Any]]) -> list[Answer]:
    """Writes answers {key: {"verdict", "value", "text", "version"}} or {key: {"accept": sha256 of the suggestion}}.

    `version` is the version of the answer that the writer saw (0: none). 1. lock the request, 2. person and state, 3. check
    each item, 4. refuse what would overwrite unseen words, 5. write, 6. audit. All are written or none. What is already
    there in the same words is left alone. Raises NotAllowed, Conflict (not in review; `stale_answer`), InvalidInput.
    """
    request = machines.lock(request_pk)
    permissions.check_answer(actor, request)
    known = {item["key"]: item for item in request.checklist}
    for key in answers:
        if key not in known:
            raise InvalidInput(
                gettext(
                    "The checklist has no item %(key)r. It has: %(known)s.",
                    key=key[:40],
                    known=", ".join(known),
                ),
                field=key,
            )
        permissions.check_item(actor, request, known[key])
    offered = checklists.suggestions_for(request, keys=answers)
    standing = {answer.key: answer for answer in request.answers.select_related("by")}
    written = []
    for key, given in answers.items():
        made = _read(known[key], given, offered.get(key))
        answer = _write(actor, request, known[key], made, given.get("version"), standing.get(key))
        if answer:
            written.append(answer)
    if written:
        _record(actor, request, written)
    return written


def _read(item: dict[str, Any], given: Mapping[str, Any], offered: Suggestion | None) -> Written:
    suggestion = offered.as_dict() if offered else None
    if "accept" in given:
        if suggestion is None:
            raise InvalidInput(
                gettext("%(item)s: nothing is suggested here; it needs your own judgement.",
                        item=checklists.title_of(item)), code="no_suggestion",
                field=item["key"],
            )  # fmt: skip
        if given["accept"] != suggestion["sha256"]:
            raise Conflict(
                gettext("%(item)s: the evidence changed after you opened this page. Read the suggestion again.",
                        item=checklists.title_of(item)),
                code="suggestion_changed", field=item["key"], suggestion=suggestion,
            )  # fmt: skip
        return Written(
            suggestion["verdict"],
            suggestion["value"],
            suggestion["text"],
            suggestion,
            SuggestionState.ACCEPTED,
        )
    fields = check_answer_fields(item, dict(given))
    state = SuggestionState.WRITTEN
    if suggestion is not None:
        same = all(fields[name] == suggestion[name] for name in ("verdict", "value", "text"))
        state = SuggestionState.ACCEPTED if same else SuggestionState.CORRECTED
    return Written(**fields, suggestion=suggestion, state=state)


def _write(
    actor: Actor,
    request: ReviewRequest,
    item: dict[str, Any],
    made: Written,
    seen: Any,
    standing: Answer | None,
) -> Answer | None:
    if standing and (standing.verdict, standing.value, standing.text) == (
        made.verdict,
        made.value,
        made.text,
    ):
        return None
    _check_seen(actor, item, made, seen, standing)
    answer = standing or Answer(request=request, key=item["key"], version=0)
    answer.verdict, answer.value, answer.text = made.verdict, made.value, made.text
    answer.suggestion, answer.suggestion_state = made.suggestion, made.state
    answer.carried_from = None  # whoever writes it now answers for it
    answer.by, answer.at, answer.version = actor.user, timezone.now(), answer.version + 1
    answer.save()
    return answer


def _check_seen(
    actor: Actor, item: dict[str, Any], made: Written, seen: Any, standing: Answer | None
) -> None:
    """Raises Conflict with both texts when somebody else's answer would be overwritten unseen."""
    current = standing.version if standing else 0
    if seen is None and (standing is None or standing.by_id == actor.user.pk):
        return  # a program that answers, or mends its own answer
    try:
        is_seen = int(seen) == current
    except (TypeError, ValueError):
        is_seen = False
    if is_seen or standing is None:
        return
    theirs = {"verdict": standing.verdict, "value": standing.value, "text": standing.text}
    raise Conflict(
        gettext(
            "%(item)s: %(by)s changed this answer after you opened it. Both are shown: join them, then "
            "save again.",
            item=checklists.title_of(item),
            by=standing.by.display_name,
        ),
        code="stale_answer",
        field=item["key"],
        version=current,
        theirs={**theirs, "by": standing.by.display_name, "at": standing.at.isoformat()},
        yours={"verdict": made.verdict, "value": made.value, "text": made.text},
    )


def _record(actor: Actor, request: ReviewRequest, written: list[Answer]) -> None:
    digest = refresh(request)
    request.save(update_fields=["content_sha256"])
    asked = {item["key"]: item["title"] for item in request.checklist}
    titles = [asked[answer.key] for answer in written]
    named = ", ".join(title.lower() for title in titles[:5])
    audit.record(
        actor=actor,
        verb="review.answered",
        subject=request,
        model_id=request.model.model_id,
        sha=request.revision.commit_sha if request.revision else "",
        items=named + (f" and {len(titles) - 5} more items" if len(titles) > 5 else ""),
        answers={answer.key: answer_sha256(answer) for answer in written},
        content_sha256=digest,
    )
