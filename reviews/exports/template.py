"""The review template, filled, as Markdown."""

from __future__ import annotations

import re

from registry.actors import Actor
from registry.exceptions import Conflict
from registry.models import Revision
from reviews.enums import Verdict
from reviews.models import ReviewRequest


def as_markdown(actor: Actor, revision: Revision) -> bytes:
    """Of the revision's newest review. Raises Conflict when there is none."""
    request = ReviewRequest.objects.filter(revision=revision).order_by("-pk").first()
    if request is None:
        raise Conflict("This revision has no review yet, so there is no template to fill.", code="no_review")
    return filled(request).encode("utf-8")


def filled(request: ReviewRequest) -> str:
    revision = request.revision
    given = {answer.key: answer for answer in request.answers.select_related("by")}
    lines = [
        "# Model Card Review",
        "",
        f"- Model: `{request.model.model_id}`",
        f"- Revision: `{revision.commit_sha if revision else request.requested_revision}`",
        f"- Use case: {inline(request.use_case)}",
        f"- Environment: {request.environment}; data: {request.data_class}; owner: {inline(request.owner)}",
        f"- Submitted by {inline(request.submitted_by.display_name)} on {request.submitted_at:%Y-%m-%d}",
        f"- Checklist: {request.checklist_version}",
        "",
    ]
    for item in request.checklist:
        answer = given.get(item["key"])
        lines += [f"## {inline(item['title'])}", "", f"*{inline(item.get('question', ''))}*", ""]
        if answer is None:
            lines += ["Not answered.", ""]
            continue
        lines += [
            f"**{Verdict(answer.verdict).label}** ({inline(answer.by.display_name)}, {answer.at:%Y-%m-%d})",
            "",
        ]
        lines += [*(f"> {inline(line)}" for line in answer.text.splitlines()), ""] if answer.text else []
    lines += ["## Decision", ""]
    if request.decision and request.decision_by and request.decision_at:
        by, at = inline(request.decision_by.display_name), f"{request.decision_at:%Y-%m-%d}"
        lines += [f"**{request.get_decision_display()}** by {by} on {at}."]
        lines += [f"- Reason: {inline(request.decision_reason)}"] if request.decision_reason else []
        lines += [f"- Conditions: {inline(request.conditions)}"] if request.conditions else []
    else:
        lines += [f"Open: {request.get_status_display()}."]
    return "\n".join(lines) + "\n"


def inline(text: str) -> str:
    """What people typed, as text of one line: it makes no heading, link, image or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>#|!~])", r"\\\1", " ".join(str(text).split()))
