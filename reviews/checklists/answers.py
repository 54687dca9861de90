"""A request's checklist read together with its answers: suggestions, what is missing, what was found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils import translation

from registry.enums import ApprovalStatus, CodeAudit, Role
from registry.models import Approval, Evidence
from registry.words import gettext
from reviews.checklists.reading import Asked, Reading, Suggestion
from reviews.checklists.suggestions import suggest
from reviews.checklists.template import title_of
from reviews.checklists.typed import is_doubt
from reviews.enums import Verdict
from reviews.models import Answer, ReviewRequest


def is_required(item: dict[str, Any], risk: str) -> bool:
    return risk in item.get("required", [risk])


def reading_of(request: ReviewRequest, evidence: list[Evidence] | None = None) -> Reading:
    """The request's revision opened for citing. Needs a revision."""
    revision = request.revision
    assert revision is not None
    rows = (
        evidence
        if evidence is not None
        else list(Evidence.objects.filter(revision=revision).order_by("-created_at"))
    )
    others = Approval.objects.filter(model_id=request.model_id, status=ApprovalStatus.ACTIVE).exclude(
        revision=revision
    )
    asked = Asked(request.owner, request.use_case, request.data_class, request.environment,
                  request.submitted_at.date().isoformat())  # fmt: skip
    commits = others.order_by("-approved_at").values_list("revision__commit_sha", flat=True)[:1]
    return Reading(revision, rows, asked, list(commits))


def suggestions_for(
    request: ReviewRequest, evidence: list[Evidence] | None = None, keys: Iterable[str] | None = None
) -> dict[str, Suggestion]:
    """{key: prefilled answer} of the items that can be prefilled; empty before the checks have finished."""
    if request.revision is None:
        return {}
    reading = reading_of(request, evidence)
    wanted = set(keys) if keys is not None else None
    found = {}
    with translation.override(
        "en"
    ):  # accepted, a suggestion is stored and signed: its words depend on no reader
        for item in request.checklist:
            if wanted is None or item["key"] in wanted:
                offered = suggest(item["key"], reading)
                if offered is not None:
                    found[item["key"]] = offered
    return found


def asked_roles(item: dict[str, Any], request: ReviewRequest) -> frozenset[str]:
    """Who may answer an item: its role; legal wherever the licence is asked about. The security auditor's items are the
    reviewers' too while there is no code to audit."""
    roles = {str(item.get("role", Role.REVIEWER))}
    if item.get("section") == "license":
        roles.add(str(Role.LEGAL))
    if request.revision is not None and request.revision.code_audit == CodeAudit.NOT_APPLICABLE:
        roles = {str(Role.REVIEWER)} if roles == {str(Role.SECURITY_AUDITOR)} else roles
    return frozenset(roles)


def missing_answers(request: ReviewRequest, answers: Iterable[Answer]) -> list[str]:
    """The items that the request's risk tier requires and nobody has answered, each a sentence."""
    given, risk = {answer.key for answer in answers}, request.risk.tier
    return [
        gettext("“%(item)s” is not answered.", item=title_of(item))
        for item in request.checklist
        if item["key"] not in given and is_required(item, risk)
    ]


def doubts(request: ReviewRequest, answers: Iterable[Answer]) -> list[str]:
    """Titles of the items whose answers ask for conditions."""
    given, risk = {answer.key: answer for answer in answers}, request.risk.tier
    return [
        title_of(item)
        for item in request.checklist
        if (answer := given.get(item["key"])) and is_doubt(item, answer.verdict, answer.value, risk)
    ]


def findings(request: ReviewRequest, answers: Iterable[Answer]) -> list[dict[str, Any]]:
    """What the review itself found: concerns, and what nobody has written down. {item, verdict, text, by}."""
    given = {answer.key: answer for answer in answers}
    return [
        {"item": item, "verdict": answer.verdict, "text": answer.text, "by": answer.by}
        for item in request.checklist
        if (answer := given.get(item["key"])) and answer.verdict != Verdict.ACCEPTABLE
    ]


def answer_value(request: ReviewRequest, key: str) -> Any:
    """The typed value given to an item (`license_decision`, `final_decision`, …); None when it is not answered."""
    answer = request.answers.filter(key=key).first()
    return answer.value if answer else None
