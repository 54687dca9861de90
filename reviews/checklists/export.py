"""The filled review template as Markdown, in English or Vietnamese: what the seed's template looks like when it is done."""

from __future__ import annotations

import re
from typing import Any

from django.utils.translation import override

from reviews.checklists.template import localised
from reviews.checklists.typed import shown_value
from reviews.enums import SuggestionState, Verdict
from reviews.models import Answer, ReviewRequest

_WORDS: dict[str, dict[str, str]] = {
    "title": {"en": "Model Card Review", "vi": "Rà soát model card"},
    "open": {"en": "not answered", "vi": "chưa trả lời"},
    "concern": {"en": "Concern", "vi": "Lo ngại"},
    "not_stated": {"en": "The card does not say", "vi": "Card không nêu"},
    "source": {"en": "Source", "vi": "Nguồn"},
    "accepted": {"en": "suggestion accepted by", "vi": "gợi ý được chấp nhận bởi"},
    "corrected": {"en": "suggestion corrected by", "vi": "gợi ý được sửa bởi"},
    "written": {"en": "written by", "vi": "viết bởi"},
    "carried": {"en": "carried over from an earlier review by", "vi": "giữ từ lần review trước bởi"},
    "template": {"en": "Template", "vi": "Template"},
    "use_case": {"en": "Use case", "vi": "Mục đích sử dụng"},
    "data": {"en": "Data", "vi": "Dữ liệu"},
    "owner": {"en": "Owner", "vi": "Người chịu trách nhiệm"},
    "submitted": {"en": "Submitted by", "vi": "Gửi bởi"},
    "decision": {"en": "Decision", "vi": "Quyết định"},
    "decided": {"en": "by", "vi": "bởi"},
    "reason": {"en": "Reason", "vi": "Lý do"},
    "conditions": {"en": "Conditions", "vi": "Điều kiện"},
    "undecided": {"en": "Open", "vi": "Chưa kết thúc"},
}
# What would make markup of somebody's words: the export is read by other programs, and the words are not ours.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|!~])")


def _plain(text: str) -> str:
    return _MARKUP.sub(r"\\\1", text)


def _inline(text: str) -> str:
    return _plain(" ".join(text.split()))


def _lines(text: str) -> str:
    return "\n  ".join(_plain(line) for line in text.splitlines())


def _how(answer: Answer, language: str) -> str:
    state = "carried" if answer.carried_from_id else str(SuggestionState(answer.suggestion_state))
    return f"{_WORDS[state][language]} {_plain(answer.by.display_name)}, {answer.at:%Y-%m-%d}"


def _item(item: dict[str, Any], answer: Answer | None, language: str) -> str:
    title = _plain(localised(item, language)["title"])
    if answer is None:
        return f"- {title}: *{_WORDS['open'][language]}*"
    value = _plain(shown_value(item, answer.value, language))
    verdict = "" if answer.verdict == Verdict.ACCEPTABLE else f"**{_WORDS[answer.verdict][language]}**"
    said = ". ".join(part for part in (verdict, value, _lines(answer.text)) if part)
    told = [f"- {title}: {said}"]
    sources = (
        (answer.suggestion or {}).get("sources", [])
        if answer.suggestion_state != SuggestionState.WRITTEN
        else []
    )
    if sources:
        cited = "; ".join(
            _plain(source["label"]) + (f" @{source['commit'][:7]}" if source.get("commit") else "")
            for source in sources
        )
        told.append(f"  *{_WORDS['source'][language]}: {cited}*")
    return "\n".join([*told, f"  *({_how(answer, language)})*"])


def _head(request: ReviewRequest, language: str) -> list[str]:
    revision = request.revision
    commit = _inline(revision.commit_sha if revision else request.requested_revision)
    told = {name: words[language] for name, words in _WORDS.items()}
    return [
        f"# {told['title']}: {_inline(request.model.model_id)}",
        "",
        f"`{commit}` · {request.get_environment_display()} · {told['template']} {_inline(request.checklist_version)}",
        "",
        f"- {told['use_case']}: {_inline(request.use_case)}",
        f"- {told['data']}: {request.get_data_class_display()}",
        f"- {told['owner']}: {_inline(request.owner)}",
        f"- {told['submitted']}: {_inline(request.submitted_by.display_name)}, {request.submitted_at:%Y-%m-%d}",
    ]


def _decision(request: ReviewRequest, language: str) -> list[str]:
    told = {name: words[language] for name, words in _WORDS.items()}
    if not (request.decision and request.decision_by and request.decision_at):
        return ["", f"## {told['decision']}", "", f"{told['undecided']}: {request.shown_status.label}."]
    by = f"{told['decided']} {_inline(request.decision_by.display_name)}, {request.decision_at:%Y-%m-%d}"
    lines = ["", f"## {told['decision']}", "", f"**{request.get_decision_display()}** {by}."]
    for name, text in (("reason", request.decision_reason), ("conditions", request.conditions)):
        lines += ["", f"- {told[name]}: {_inline(text)}"] if text else []
    return lines


def filled_template_markdown(request: ReviewRequest, language: str = "en") -> str:
    """The request's checklist with its answers, sources and who gave them, section by section, and the decision."""
    language = "vi" if language[:2] == "vi" else "en"
    answers = {answer.key: answer for answer in request.answers.select_related("by")}
    with override(language):  # what the enumerations are called
        lines = _head(request, language)
        section = ""
        for item in request.checklist:
            if item.get("section", "") != section:
                section = item["section"]
                lines += ["", f"## {_plain(localised(item, language)['section_title'])}", ""]
            lines.append(_item(item, answers.get(item["key"]), language))
        lines += _decision(request, language)
    return "\n".join(lines) + "\n"
