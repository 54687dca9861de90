"""Checklist templates, typed answers and suggestions: complete, checked to the last word, and cited to the line."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from django.db import connection

from registry.enums import EvidenceKind, Role
from registry.exceptions import Conflict, InvalidInput, NotAllowed
from registry.models import AuditEvent, Revision
from reviews import checklists
from reviews.checklists import templates
from reviews.checklists.template import diff, parse, shipped_source
from reviews.checklists.typed import check_answer_fields
from reviews.models import Answer, ChecklistTemplateVersion, ReviewRequest
from reviews.services.answering import save_answers
from tests.factories import (
    SHA_A,
    Api,
    World,
    an_answer,
    make_evidence,
    make_member,
    make_review,
    make_revision,
)
from tests.house.rules import without_rules

# The seed's Model Card Review template, as it stands in the lesson.
SEED: dict[str, tuple[str, ...]] = {
    "Basic information": ("Model ID", "Revision/commit SHA", "Model family", "Task", "Owner/team", "Review date"),
    "License": ("License", "Commercial use allowed", "Attribution requirements", "Redistribution restrictions", "Decision"),
    "Intended use": ("Intended task", "Intended users", "Intended domain", "Out-of-scope use"),
    "Language and locale": ("Supported languages", "Vietnamese support", "Required preprocessing", "Tokenizer notes"),
    "Training/evaluation data": (
        "Training dataset", "Evaluation dataset", "Data source clarity", "Domain match with our data", "Known data risks",
    ),
    "Metrics": ("Reported metrics", "Benchmark/split", "Metric relevant to our use case", "Missing metrics"),
    "Limitations": (
        "Known weak domains", "Max sequence length/context", "Robustness concerns", "Bias/toxicity/privacy notes",
    ),
    "Safety and security": (
        "Requires trust_remote_code", "Custom code audited", "Handles sensitive data", "Output safety risks",
        "Abuse/misuse concerns",
    ),
    "Inference requirements": (
        "Artifact size", "CPU viable", "GPU/VRAM requirement", "Expected latency", "Quantization available",
        "Batch size tested",
    ),
    "Production decision": (
        "Can be used in production", "Required conditions", "Monitoring needed", "Rollback plan", "Final decision",
    ),
}  # fmt: skip
ITEMS = {item["key"]: item for item in checklists.shipped().items}
CARD = """---
license: apache-2.0
language:
- vi
- en
---
# A classifier

## Limitations

Sarcasm is read as praise.
"""


def test_shipped_template_is_the_seeds_item_by_item() -> None:
    found: dict[str, list[str]] = {}
    for item in checklists.shipped().items:
        found.setdefault(item["section_title"], []).append(item["title"])
    assert {section: tuple(titles) for section, titles in found.items()} == SEED


def test_decisions_of_the_seed_are_choices() -> None:
    assert list(ITEMS["license_decision"]["options"]) == ["approved", "rejected", "needs_legal_review"]
    assert "needs_legal_review" in ITEMS["final_decision"]["options"]


def test_every_item_is_told_in_vietnamese() -> None:
    for key, item in ITEMS.items():
        vi = checklists.localised(item, "vi")
        for name in ("question", "guidance"):
            assert vi[name] and vi[name] != item[name], f"{key} has no Vietnamese {name}"
        assert set(vi["options"]) == set(item["options"])


def test_each_risk_tier_asks_at_least_what_the_lower_one_asks() -> None:
    asked = {
        tier: {k for k, item in ITEMS.items() if tier in item["required"]}
        for tier in ("low", "medium", "high")
    }
    assert asked["low"] < asked["medium"] < asked["high"] == set(ITEMS)
    assert {"license", "license_decision", "code_audited", "final_decision"} <= asked["low"]


# --- templates as data -------------------------------------------------------------------------------------------------


def _changed(change: Any) -> str:
    document = yaml.safe_load(shipped_source())
    change(document)
    return yaml.safe_dump(document, allow_unicode=True)


def _item(document: dict[str, Any], number: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = document["sections"][0]["items"][number]
    return found


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("name"), "exactly the fields"),
        (lambda d: d.update(slug="No Slug"), "`slug` has"),
        (lambda d: d.update(sections=[]), "1 to 200 items"),
        (lambda d: _item(d).pop("title"), "both languages"),
        (lambda d: _item(d)["title"].pop("vi"), "both languages"),
        (lambda d: _item(d)["question"].update(vi=" "), "`vi` are missing"),
        (lambda d: _item(d).update(key="Bad Key"), "is no key"),
        (lambda d: _item(d).update(key="task"), "no key twice"),
        (lambda d: _item(d).update(type="essay"), "`type` is one of"),
        (lambda d: _item(d).update(type="number"), "has max and min and unit"),
        (lambda d: _item(d).update(type="number", unit="x", min=5, max=5), "min is the smaller"),
        (lambda d: _item(d).update(type="choice", options={"one": {"en": "1", "vi": "1"}}), "two entries"),
        (lambda d: _item(d).update(role="king"), "`role` is one of"),
        (lambda d: _item(d).update(required=["tiny"]), "`required` is a list of"),
        (lambda d: _item(d).update(rests_on=["stars"]), "`rests_on` is a list of"),
        (lambda d: _item(d).update(doubtful=["yes"]), "`doubtful` names"),
        (lambda d: _item(d).update(colour="red"), "unknown field `colour`"),
    ],
)  # fmt: skip
def test_broken_template_is_refused_with_its_place(change: Any, words: str) -> None:
    with pytest.raises(InvalidInput, match=words) as refusal:
        parse(_changed(change))
    assert refusal.value.code == "bad_template"


@pytest.mark.parametrize("source", ["", "- a\n- b", "a: [", "a: &x 1\nb: *x", "x" * 60_001])
def test_text_that_is_no_template_is_refused(source: str) -> None:
    with pytest.raises(InvalidInput):
        parse(source)


def test_admins_version_is_for_the_own_team_and_open_requests_keep_theirs(world: World) -> None:
    before = make_review(world, make_revision(world.team))
    source = _changed(lambda d: _item(d)["title"].update(en="Name of the model"))
    made = templates.add_version(actor=world.admin, source=source, note="Clearer")
    assert (made.number, made.label) == (1, "model-card-review/1") and made.template.team == world.team
    assert templates.current_version(world.team) == made
    assert templates.current_version(world.other.in_team).template.team is None
    assert diff(templates.shipped_version().items, made.items) == [
        {"key": "model_id", "what": "title", "before": "Model ID", "after": "Name of the model"}
    ]
    before.refresh_from_db()
    assert before.checklist[0]["title"] == "Model ID"
    added = AuditEvent.objects.filter(verb="template.version_added").order_by("seq")
    assert [event.actor_id for event in added] == [
        None,
        world.admin.user.pk,
    ]  # the shipped one, on its first use
    with pytest.raises(Conflict, match="nothing changed"):
        templates.add_version(actor=world.admin, source=source)


@pytest.mark.parametrize("role", sorted(set(Role.values) - {"admin"}))
def test_only_admins_change_templates(world: World, role: str) -> None:
    with pytest.raises(NotAllowed):
        templates.add_version(actor=world.by_role(role), source=shipped_source())
    assert not ChecklistTemplateVersion.objects.filter(template__team=world.team).exists()


def test_shipped_version_is_written_once(world: World) -> None:
    assert templates.shipped_version() == templates.shipped_version()
    assert ChecklistTemplateVersion.objects.count() == 1


# --- typed answers -----------------------------------------------------------------------------------------------------

OK, SILENT = "acceptable", "not_stated"


@pytest.mark.parametrize(
    ("key", "given", "result"),
    [
        ("license", {"verdict": OK, "text": " MIT "}, (None, "MIT")),
        ("license", {"verdict": OK, "text": ""}, "no_words"),
        ("license", {"verdict": OK, "text": "MIT", "value": "MIT"}, "bad_value"),
        ("license", {"verdict": SILENT, "text": ""}, (None, "")),
        ("license", {"verdict": "concern", "text": " "}, "concern_without_words"),
        ("license", {"verdict": "fine", "text": "x"}, "bad_verdict"),
        ("license", {"verdict": OK, "text": "x" * 4001}, "too_long"),
        ("license_decision", {"verdict": OK, "value": "approved"}, ("approved", "")),
        ("license_decision", {"verdict": OK, "value": "maybe"}, "bad_value"),
        ("license_decision", {"verdict": OK}, "no_value"),
        ("license_decision", {"verdict": SILENT, "value": "approved"}, "bad_value"),
        ("remote_code", {"verdict": OK, "value": "na"}, ("na", "")),
        ("remote_code", {"verdict": OK, "value": True}, "bad_value"),
        ("remote_code", {"verdict": OK, "value": ["no"]}, "bad_value"),
        ("max_length", {"verdict": OK, "value": "512"}, (512, "")),
        ("max_length", {"verdict": OK, "value": 512.5}, (512.5, "")),
        ("max_length", {"verdict": OK, "value": 0}, "bad_value"),
        ("max_length", {"verdict": OK, "value": 10**9}, "bad_value"),
        ("max_length", {"verdict": OK, "value": "nan"}, "bad_value"),
        ("max_length", {"verdict": OK, "value": True}, "bad_value"),
        ("max_length", {"verdict": OK, "value": "many"}, "bad_value"),
        ("benchmark_split", {"verdict": OK, "value": "Run #12"}, ("run 12", "")),
        ("benchmark_split", {"verdict": OK, "value": "https://example.org/a"}, ("https://example.org/a", "")),
        ("benchmark_split", {"verdict": OK, "value": "http://example.org/a"}, "bad_value"),
        ("benchmark_split", {"verdict": OK, "value": "javascript:alert(1)"}, "bad_value"),
    ],
)
def test_answer_is_read_by_the_type_of_its_item(key: str, given: dict[str, Any], result: Any) -> None:
    if isinstance(result, str):
        with pytest.raises(InvalidInput) as refusal:
            check_answer_fields(ITEMS[key], given)
        assert (refusal.value.code, refusal.value.details["field"]) == (result, key)
    else:
        read = check_answer_fields(ITEMS[key], given)
        assert (read["value"], read["text"]) == result


@pytest.mark.parametrize(
    ("key", "answer", "is_doubt"),
    [
        ("license", an_answer(ITEMS["license"]), False),
        ("license", {"verdict": "concern", "text": "No file."}, True),
        ("license", {"verdict": SILENT}, True),
        ("license_decision", {"verdict": OK, "value": "needs_legal_review"}, True),
        ("license_decision", {"verdict": OK, "value": "approved"}, False),
        (
            "redistribution",
            {"verdict": SILENT},
            False,
        ),  # optional at low risk: silence there asks for nothing
    ],
)
def test_doubts_ask_for_conditions(world: World, key: str, answer: dict[str, Any], is_doubt: bool) -> None:
    review = make_review(world, make_revision(world.team))
    save_answers(actor=world.reviewer, request_pk=review.pk, answers={key: answer})
    assert bool(checklists.doubts(review, review.answers.all())) == is_doubt


def test_item_of_the_security_auditor_is_not_the_reviewers_when_there_is_code(world: World) -> None:
    review = make_review(world, make_revision(world.team, remote_code=True))
    answers = {"code_audited": {"verdict": "concern", "value": "no", "text": "Not read yet."}}
    with pytest.raises(NotAllowed, match="answered by somebody with the role security auditor"):
        save_answers(actor=world.reviewer, request_pk=review.pk, answers=answers)
    save_answers(actor=world.security_auditor, request_pk=review.pk, answers=answers)
    with pytest.raises(NotAllowed, match="role reviewer"):
        save_answers(
            actor=world.security_auditor,
            request_pk=review.pk,
            answers={"dataset": an_answer(ITEMS["dataset"])},
        )


# --- suggestions ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def review(world: World) -> ReviewRequest:
    files = {"config.json": b'{\n  "model_type": "distilbert",\n  "max_position_embeddings": 128\n}'}
    facts = {
        "config": {"max_position_embeddings": 128},
        "licence": {"declared": [{"id": "apache-2.0", "spdx": "Apache-2.0", "category": "Permissive"}]},
    }
    revision = make_revision(world.team, files=files, facts=facts)
    with without_rules(connection):
        Revision.objects.filter(pk=revision.pk).update(
            card_text=CARD, card_data={"license": "apache-2.0", "language": ["vi", "en"]}
        )
    make_evidence(world.submitter, revision, EvidenceKind.BENCHMARK)
    return make_review(world, Revision.objects.get(pk=revision.pk))


@pytest.mark.parametrize(
    ("key", "value", "text", "path", "lines", "quote"),
    [
        ("license", None, "apache-2.0", "README.md", (2, 2), "license: apache-2.0"),
        ("language", None, "vi, en", "README.md", (3, 5), "language:\n- vi\n- en"),
        ("vietnamese", "yes", "", "README.md", (3, 5), "language:\n- vi\n- en"),
        ("limitations", None, "Sarcasm is read as praise.", "README.md", (9, 11),
         "## Limitations\n\nSarcasm is read as praise."),
        ("max_length", 128, "", "config.json", (3, 3), '"max_position_embeddings": 128'),
    ],
)  # fmt: skip
def test_suggestion_cites_the_lines_it_rests_on(
    review: ReviewRequest, key: str, value: Any, text: str, path: str, lines: tuple[int, int], quote: str
) -> None:
    offered = checklists.suggestions_for(review)[key]
    assert (offered.verdict, offered.value, offered.text) == (OK, value, text)
    source = offered.sources[0]
    assert (source.path, source.lines, source.quote, source.commit) == (path, lines, quote, SHA_A)


def test_suggestion_from_a_run_names_the_run(review: ReviewRequest) -> None:
    offered = checklists.suggestions_for(review)["expected_latency"]
    assert (offered.value, offered.sources[0].kind) == (5.0, "run")
    assert offered.sources[0].label == f"run {offered.sources[0].run}"


def test_silence_is_offered_as_the_answer_and_becomes_a_finding(world: World, review: ReviewRequest) -> None:
    offered = checklists.suggestions_for(review)["dataset"]
    assert offered.is_silent and offered.verdict == SILENT
    accepted = {"dataset": {"accept": offered.as_dict()["sha256"]}}
    save_answers(actor=world.reviewer, request_pk=review.pk, answers=accepted)
    found = checklists.findings(review, review.answers.all())
    assert [(each["item"]["key"], each["verdict"]) for each in found] == [("dataset", SILENT)]


def test_judgement_has_no_suggestion_to_accept(world: World, review: ReviewRequest) -> None:
    assert "final_decision" not in checklists.suggestions_for(review)
    with pytest.raises(InvalidInput, match="your own judgement"):
        save_answers(
            actor=world.reviewer, request_pk=review.pk, answers={"final_decision": {"accept": "0" * 64}}
        )


@pytest.mark.parametrize(
    ("text", "state"), [("apache-2.0", "accepted"), ("Apache-2.0, with the NOTICE file.", "corrected")]
)
def test_answer_keeps_what_was_suggested_and_what_became_of_it(
    world: World, review: ReviewRequest, text: str, state: str
) -> None:
    save_answers(
        actor=world.reviewer, request_pk=review.pk, answers={"license": {"verdict": OK, "text": text}}
    )
    answer = Answer.objects.get()
    assert (answer.suggestion_state, answer.text) == (state, text)
    assert (
        answer.suggestion
        and answer.suggestion["text"] == "apache-2.0"
        and answer.suggestion["sources"][0]["lines"] == [2, 2]
    )


def test_suggestion_that_changed_meanwhile_is_not_accepted_blindly(
    world: World, review: ReviewRequest
) -> None:
    seen = checklists.suggestions_for(review)["expected_latency"].as_dict()["sha256"]
    assert review.revision
    make_evidence(world.submitter, review.revision, EvidenceKind.BENCHMARK)
    with pytest.raises(Conflict) as refusal:
        save_answers(
            actor=world.reviewer, request_pk=review.pk, answers={"expected_latency": {"accept": seen}}
        )
    assert refusal.value.code == "suggestion_changed"


# --- two people at once ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "same_person", "same_words", "status"),
    [
        (1, False, False, "saved"), (0, False, False, "stale"), (None, False, False, "stale"), ("x", False, False, "stale"),
        (0, True, False, "stale"), (None, True, False, "saved"), (0, False, True, "saved"),
    ],
)  # fmt: skip
def test_words_that_were_not_seen_are_not_overwritten(
    world: World, review: ReviewRequest, version: Any, same_person: bool, same_words: bool, status: str
) -> None:
    save_answers(
        actor=world.reviewer, request_pk=review.pk, answers={"license": {"verdict": OK, "text": "Theirs."}}
    )
    actor = world.reviewer if same_person else make_member(world.team, Role.REVIEWER)
    mine = {"verdict": OK, "text": "Theirs." if same_words else "Mine.", "version": version}
    if status == "saved":
        save_answers(actor=actor, request_pk=review.pk, answers={"license": mine})
        answer = Answer.objects.get()
        assert (answer.text, answer.version) == (mine["text"], 1 if same_words else 2)
        return
    with pytest.raises(Conflict) as refusal:
        save_answers(actor=actor, request_pk=review.pk, answers={"license": mine})
    details = refusal.value.details
    assert (refusal.value.code, details["version"]) == ("stale_answer", 1)
    assert (details["theirs"]["text"], details["yours"]["text"]) == ("Theirs.", "Mine.")
    assert Answer.objects.get().text == "Theirs."


def test_api_accepts_suggestions_and_refuses_stale_answers(world: World, review: ReviewRequest) -> None:
    api = Api.of(world.reviewer)
    suggestions = api.get(f"/reviews/{review.pk}/suggestions").data
    assert suggestions["license"]["sources"][0]["lines"] == [2, 2]
    body = {"answers": {"license": {"accept": suggestions["license"]["sha256"]}}}
    saved = api.put(f"/reviews/{review.pk}/answers", body).data["answers"][0]
    assert (saved["suggestion_state"], saved["version"], saved["text"]) == ("accepted", 1, "apache-2.0")
    other = Api.of(make_member(world.team, Role.REVIEWER))
    mine = {"answers": {"license": {"verdict": OK, "text": "Mine.", "version": 0}}}
    refused = other.put(f"/reviews/{review.pk}/answers", mine)
    assert (refused.status, refused.code) == (409, "stale_answer")
    assert refused.error["details"]["theirs"]["text"] == "apache-2.0"


# --- the filled template ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "section", "silent"),
    [
        ("en", "## Language and locale", "**The card does not say**"),
        ("vi", "## Ngôn ngữ và locale", "**Card không nêu**"),
    ],
)
def test_filled_template_has_all_sections_sources_and_names(
    world: World, review: ReviewRequest, language: str, section: str, silent: str
) -> None:
    offered = checklists.suggestions_for(review)
    answers: dict[str, Any] = {
        key: {"accept": offered[key].as_dict()["sha256"]} for key in ("language", "dataset")
    }
    answers["license"] = {"verdict": "concern", "text": "# Not a heading\n[link](https://evil.example)"}
    save_answers(actor=world.reviewer, request_pk=review.pk, answers=answers)
    text = checklists.filled_template_markdown(review, language)
    assert text.count("\n## ") == 11 and section in text and silent in text
    assert "README.md lines 3-5 @aaaaaaa" in text and "reviewer" in text
    assert "\\# Not a heading" in text and "[link]" not in text.replace("\\[link\\]", "")
