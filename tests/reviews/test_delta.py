"""Delta review: what a new commit changes, which answers still stand, and what the reviewers are shown of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from registry.enums import CodeAudit, EvidenceKind, JobKind, JobState, Role
from registry.models import Approval, AuditEvent, Revision
from reviews import checklists
from reviews.changes import changes_between, last_approved_before
from reviews.checklists.template import KINDS, parse, shipped, shipped_source
from reviews.code_audits.states import judged_files
from reviews.delta import CLASSES, Side, asked_again, classes_of_path, classify
from reviews.models import Answer, ReviewRequest, Vote
from reviews.services.answering import save_answers
from reviews.services.checks import on_job_finished
from reviews.services.digests import content_sha256
from reviews.votes import tally
from tests.factories import (
    SHA_A,
    SHA_B,
    SHA_C,
    Api,
    World,
    answer_all,
    audit_code,
    make_approval,
    make_evidence,
    make_job,
    make_member,
    make_review,
    make_revision,
)
from tests.pages.test_pages import signed_in
from tests.reviews.code import FILES as CODE_FILES
from tests.reviews.code import HELPER_2

# --- the classification ------------------------------------------------------------------------------------------------

PATHS: list[tuple[str, tuple[str, ...]]] = [
    ("README.md", ("card",)),
    ("docs/readme.MD", ("card",)),
    ("README", ("card",)),
    ("images/figure.png", ("card",)),
    ("LICENSE", ("licence",)),
    ("LICENCE.txt", ("licence",)),
    ("USE_POLICY.md", ("licence",)),
    ("NOTICE", ("licence",)),
    ("generation_config.json", ("config",)),
    ("1_Pooling/config.json", ("config",)),
    ("modules.json", ("config",)),
    ("tokenizer.json", ("tokenizer",)),
    ("tokenizer_config.json", ("tokenizer",)),
    ("added_tokens.json", ("tokenizer",)),
    ("vocab.txt", ("tokenizer",)),
    ("spiece.model", ("tokenizer",)),
    ("chat_template.jinja", ("tokenizer",)),
    ("model.safetensors", ("weights",)),
    ("model.safetensors.index.json", ("weights",)),
    ("onnx/model.onnx", ("weights",)),
    ("pytorch_model.bin", ("weights",)),
    ("LICENSE.bin", ("weights",)),
    ("modeling_x.py", ("code",)),
    ("README.py", ("code",)),
    ("requirements.txt", ("code",)),
    (".gitattributes", ()),
    # what nobody can name is looked at as the most dangerous things it can be
    ("README.so", ("weights", "code")),
    ("LICENSE.exe", ("weights", "code")),
    ("run", ("weights", "code")),
    ("data.xyz", ("weights", "code")),
]


@pytest.mark.parametrize(("path", "classes"), PATHS)
def test_class_of_a_path(path: str, classes: tuple[str, ...]) -> None:
    assert classes_of_path(path) == classes


BASE = Side(
    files={"README.md": "1", "config.json": "1", "tokenizer.json": "1", "model.safetensors": "1", "x.py": "1", "a.txt": "1"},
    config={"model_type": "bert", "id2label": {"0": "no"}, "num_labels": 1},
    labels={"0": "no"},
    licence={"name": "mit"},
    tokenizer={"sha256": "1"},
    code="1",
)  # fmt: skip


def files(**changed: str | None) -> dict[str, str]:
    found = dict(BASE.files) | {name.replace("__", "."): digest for name, digest in changed.items()}
    return {name: digest for name, digest in found.items() if digest is not None}


CHANGES: list[tuple[str, Side, set[str]]] = [
    ("nothing", BASE, set()),
    ("the card's words", replace(BASE, files=files(README__md="2")), {"card"}),
    (
        "the card's licence",
        replace(BASE, files=files(README__md="2"), licence={"name": "gpl"}),
        {"card", "licence"},
    ),
    ("a licence that is read otherwise now", replace(BASE, licence={"name": "gpl"}), {"licence"}),
    ("a licence file", replace(BASE, files=files(LICENSE="1")), {"licence"}),
    ("weights", replace(BASE, files=files(model__safetensors="2")), {"weights"}),
    ("weights removed", replace(BASE, files=files(model__safetensors=None)), {"weights"}),
    ("a tokenizer file", replace(BASE, files=files(tokenizer__json="2")), {"tokenizer"}),
    ("what the tokenizer makes of texts", replace(BASE, tokenizer={"sha256": "2"}), {"tokenizer"}),
    ("a helper", replace(BASE, files=files(x__py="2"), code="2"), {"code"}),
    ("where code is loaded from", replace(BASE, code="2"), {"code"}),
    ("the code is gone", replace(BASE, files=files(x__py=None), code=None), {"code"}),
    ("a program in disguise", replace(BASE, files=files(a__txt="2"), quarantined=frozenset({"a.txt"})),
     {"card", "weights", "code"}),
    (
        "config keys",
        replace(BASE, files=files(config__json="2"), config={**BASE.config, "model_type": "gpt2"}),
        {"config"},
    ),
    ("config formatting", replace(BASE, files=files(config__json="2")), {"config"}),
    (
        "two labels exchanged",
        replace(
            BASE, files=files(config__json="2"), config={**BASE.config, "id2label": {"0": "yes"}}, labels={"0": "yes"}
        ),
        {"labels"},
    ),
    (
        "labels and keys",
        replace(
            BASE, files=files(config__json="2"), config={"model_type": "gpt2", "id2label": {"0": "yes"}}, labels={"0": "yes"}
        ),
        {"config", "labels"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("what", "after", "classes"), CHANGES, ids=[row[0] for row in CHANGES])
def test_classes_of_a_change(what: str, after: Side, classes: set[str]) -> None:
    found = classify(BASE, after)
    assert set(found) == classes and all(found.values())
    assert set(classify(after, BASE)) == classes, "the same the other way round"
    assert [name for name in CLASSES if name in found] == list(found)


ITEM = {"key": "a", "title": "A", "rests_on": ["card", "labels"]}
AGAIN: list[tuple[dict[str, Any], dict[str, Any] | None, set[str], bool]] = [
    (ITEM, ITEM, set(), False),
    (ITEM, ITEM, {"weights", "code"}, False),
    (ITEM, ITEM, {"labels"}, True),
    (ITEM, None, set(), True),
    (ITEM, ITEM | {"title": "B"}, set(), True),
    (ITEM, ITEM | {"rests_on": []}, set(), True),
    (ITEM | {"rests_on": []}, ITEM | {"rests_on": []}, set(CLASSES), False),
    (ITEM | {"rests_on": ["run"]}, ITEM | {"rests_on": ["run"]}, set(), True),
    ({"key": "a"}, {"key": "a"}, set(), True),  # says nothing: rests on everything, runs too
]


@pytest.mark.parametrize(("item", "earlier", "changed", "again"), AGAIN)
def test_which_items_are_asked_again(
    item: dict[str, Any], earlier: dict[str, Any] | None, changed: set[str], again: bool
) -> None:
    assert bool(asked_again(item, earlier, changed)) == again


def test_every_class_re_opens_something_of_the_shipped_template() -> None:
    for name in KINDS:
        assert any(name in item["rests_on"] for item in shipped().items), name
    last = next(item for item in shipped().items if item["key"] == "final_decision")
    assert set(last["rests_on"]) == set(KINDS)


def test_an_item_of_a_template_that_does_not_say_rests_on_everything() -> None:
    source = shipped_source().replace("        rests_on: [card, licence]\n", "", 1)
    assert set(next(i for i in parse(source).items if i["key"] == "license")["rests_on"]) == set(KINDS)


# --- carrying over -----------------------------------------------------------------------------------------------------


def approved(world: World, sha: str = SHA_A, **fields: Any) -> ReviewRequest:
    """A review of a commit, answered, approved, its approval in force."""
    revision = make_revision(world.team, sha, **fields)
    review = make_review(world, revision, environment="production")
    answer_all(world, review)
    offered = checklists.suggestions_for(review)
    for answer in review.answers.all():  # as the service writes them: with what was offered
        if answer.key in offered:
            Answer.objects.filter(pk=answer.pk).update(suggestion=offered[answer.key].as_dict())
    if fields.get("remote_code"):
        audit_code(world, revision)
    return approve(world, review)


def approve(world: World, review: ReviewRequest) -> ReviewRequest:
    """Two votes, the approval, and the review decided with it."""
    review.refresh_from_db()
    assert review.revision is not None
    other = make_member(world.team, Role.REVIEWER)
    Vote.objects.create(
        request=review, round=review.round, reviewer=other.user, decision="approved", roles=["reviewer"],
        content_sha256=review.content_sha256, at=timezone.now(),
    )  # fmt: skip
    approval = make_approval(world, review.revision, review=review)
    ReviewRequest.objects.filter(pk=review.pk).update(
        status="approved", decision="approved", decision_at=timezone.now(), decision_by=world.reviewer.user,
        approval=approval,
    )  # fmt: skip
    return ReviewRequest.objects.get(pk=review.pk)


def arrive(
    world: World, sha: str = SHA_B, review: ReviewRequest | None = None, **fields: Any
) -> ReviewRequest:
    """The checks of a new commit end, by the signal that intake sends."""
    terms = {
        name: fields.pop(name)
        for name in ("use_case", "data_class", "checklist", "submitted_by")
        if name in fields
    }
    revision = make_revision(world.team, sha, **fields)
    job = make_job(world.submitter, JobKind.INTAKE, state=JobState.SUCCEEDED)
    where = fields.get("environment", "production")
    request = review or make_review(world, None, status="checks_running", environment=where, **terms)
    ReviewRequest.objects.filter(pk=request.pk).update(intake_job=job, status="checks_running")
    on_job_finished(job, revision)
    return ReviewRequest.objects.get(pk=request.pk)


def contents(**changed: bytes) -> dict[str, bytes]:
    base = {
        "README.md": b"# A model\n",
        "config.json": b"{}",
        "model.safetensors": b"w",
        "tokenizer.json": b"{}",
    }
    return base | {name.replace("__", "."): data for name, data in changed.items()}


def carried(request: ReviewRequest) -> set[str]:
    return set(request.answers.filter(carried_from__isnull=False).values_list("key", flat=True))


def resting_on(name: str) -> set[str]:
    return {item["key"] for item in shipped().items if name in item["rests_on"]}


@pytest.mark.parametrize(
    ("path", "name"),
    [("README.md", "card"), ("config.json", "config"), ("model.safetensors", "weights"), ("tokenizer.json", "tokenizer"),
     ("LICENSE", "licence")],
)  # fmt: skip
def test_only_what_rests_on_the_change_is_asked_again(world: World, path: str, name: str) -> None:
    before = approved(world, files=contents())
    now = arrive(world, files=contents() | {path: b"changed"})
    assert now.status == "in_review" and now.follows == before
    assert [each["class"] for each in now.delta] == [name] and now.delta[0]["why"] == [path]
    kept = carried(now)
    assert not kept & (resting_on(name) | resting_on("run")) and kept
    everything = {item["key"] for item in shipped().items}
    left = everything - kept - resting_on(name) - resting_on("run")
    assert left <= {"revision", "rollback"}, "only what the evidence says otherwise now"
    for answer in now.answers.select_related("carried_from"):
        was = answer.carried_from
        assert was is not None and was.request_id == before.pk
        assert (answer.verdict, answer.value, answer.text) == (was.verdict, was.value, was.text)
        assert (answer.by, answer.at, answer.suggestion) == (was.by, was.at, was.suggestion)
    assert now.content_sha256 == content_sha256(now)
    event = AuditEvent.objects.get(verb="review.carried_over")
    assert event.object_id == now.pk


def test_an_answer_that_names_the_commit_is_not_carried(world: World) -> None:
    """`revision` rests on weights, and only the card changed: but what it says is the commit."""
    approved(world, files=contents())
    now = arrive(world, files=contents(README__md=b"# Another\n"))
    assert "revision" not in carried(now) and "artifact_size" in carried(now)


def end(field: str, value: Any) -> Callable[[ReviewRequest], None]:
    def act(request: ReviewRequest) -> None:
        Approval.objects.filter(pk=request.approval_id or 0).update(**{field: value})

    return act


@pytest.mark.parametrize(
    ("terms", "spoil"),
    [
        ({"use_case": "Another"}, None),
        ({"data_class": "public"}, None),
        ({}, end("status", "suspended")),
        ({}, end("status", "revoked")),
    ],
)
def test_only_an_approval_in_force_for_the_same_question_is_followed(
    world: World, terms: dict[str, Any], spoil: Callable[[ReviewRequest], None] | None
) -> None:
    before = approved(world, files=contents())
    if spoil:
        spoil(before)
    now = arrive(world, files=contents(README__md=b"# New\n"), **terms)
    assert now.status == "in_review"
    assert (now.follows, now.delta, carried(now)) == (None, [], set())
    assert not AuditEvent.objects.filter(verb="review.carried_over").exists()


def test_items_in_other_words_are_asked_again(world: World) -> None:
    approved(world, files=contents())
    items = [dict(item) for item in shipped().items]
    items[0]["guidance"] = "Look at it twice."
    now = arrive(world, files=contents(LICENSE=b"MIT"), checklist=items)
    assert items[0]["key"] not in carried(now) and carried(now)


def test_nobodys_answers_stand_for_their_own_submission(world: World) -> None:
    approved(world, files=contents())
    now = arrive(world, files=contents(LICENSE=b"MIT"), submitted_by=world.reviewer.user)
    assert now.follows_id and carried(now) == set()


def test_a_chain_names_who_decided_first(world: World) -> None:
    first = approved(world, files=contents())
    second = arrive(world, files=contents(LICENSE=b"MIT"))
    second = approve(world, second)
    third = arrive(world, SHA_C, files=contents(LICENSE=b"MIT", tokenizer__json=b"[]"))
    assert third.follows == second
    answer = third.answers.get(key="artifact_size")
    assert answer.carried_from is not None and answer.carried_from.request == first
    assert carried(third) <= carried(second), "what nobody answered the second time cannot be carried further"


def test_the_next_round_works_it_out_anew_and_keeps_what_people_wrote(world: World) -> None:
    approved(world, files=contents())
    now = arrive(world, files=contents(LICENSE=b"MIT"))
    item = next(item for item in now.checklist if item["key"] == "intended_use")
    mine = {"verdict": "acceptable", "value": None, "text": "In my own words.", "version": 1}
    [written] = save_answers(actor=world.reviewer, request_pk=now.pk, answers={item["key"]: mine})
    assert written.carried_from is None
    before = carried(now)
    assert {"tokenizer", "artifact_size"} <= before and item["key"] not in before
    again = arrive(world, SHA_C, review=now, files=contents(tokenizer__json=b"[]"))
    assert "tokenizer" not in carried(again) and "artifact_size" in carried(again)
    assert again.answers.get(key=item["key"]).text == "In my own words."
    assert again.content_sha256 == content_sha256(again)


def test_edited_answer_is_nobodys_but_the_editors_and_makes_votes_stale(world: World) -> None:
    approved(world, files=contents())
    now = arrive(world, files=contents(LICENSE=b"MIT"))
    digest = now.content_sha256
    Answer.objects.filter(request=now, key="owner").update(carried_from=None)
    assert content_sha256(now) != digest, "whose answer it is, is voted on, too"
    assert tally(now).words.startswith("0 of")


def test_readme_only_change_never_re_opens_the_code_audit(world: World) -> None:
    facts = {"code": [], "config": {"code_keys": []}}
    before = approved(world, files=CODE_FILES | {"README.md": b"# One\n"}, remote_code=True, facts=facts)
    now = arrive(world, files=CODE_FILES | {"README.md": b"# Two\n"}, remote_code=True, facts=facts)
    assert [each["class"] for each in now.delta] == ["card"]
    revision = Revision.objects.get(pk=now.revision_id or 0)
    assert revision.code_audit == CodeAudit.PASSED
    assert all(file.inherited_from == before.revision for file in judged_files(revision))
    assert AuditEvent.objects.filter(verb="code.inherited", object_id=revision.pk).exists()


def test_changed_helper_re_opens_itself_and_the_items_about_code(world: World) -> None:
    facts = {"code": [], "config": {"code_keys": []}}
    approved(world, files=dict(CODE_FILES), remote_code=True, facts=facts)
    now = arrive(world, files=CODE_FILES | {"helper.py": HELPER_2}, remote_code=True, facts=facts)
    assert [each["class"] for each in now.delta] == ["code"] and not carried(now) & resting_on("code")
    revision = Revision.objects.get(pk=now.revision_id or 0)
    assert revision.code_audit == CodeAudit.PENDING
    assert [file.file.path for file in judged_files(revision) if file.mark == "open"] == ["helper.py"]


# --- shown -------------------------------------------------------------------------------------------------------------


def story(world: World) -> tuple[ReviewRequest, ReviewRequest]:
    before = approved(world, files=contents())
    now = arrive(world, files=contents(README__md=b"# A model\nFor tests.\n", extra__bin=b"12345"))
    row = Revision.objects.filter(pk=now.revision_id or 0)
    assert row.exists()
    for kind in EvidenceKind:
        make_evidence(world.submitter, now.revision, kind)  # type: ignore[arg-type]
    return before, now


def test_review_page_folds_what_was_carried_and_says_whose_it_is(world: World) -> None:
    before, now = story(world)
    text = signed_in(world.reviewer).get(f"/reviews/{now.pk}/").content.decode()
    kept = carried(now)
    assert text.count('<details class="carried"') == len(kept) > 5
    assert f"Carried over from {SHA_A[:7]}, decided by {world.reviewer.user.display_name}," in text
    assert f'href="/reviews/{before.pk}/#item-tokenizer"' in text
    assert f"{len(kept)} answers are carried over from the approved commit {SHA_A[:7]}" in text
    assert 'id="carried-intended_use"' not in text, "it rests on the card"
    assert f"What changed since {SHA_A[:7]}" in text and "extra.bin" in text


def test_revision_page_is_compared_with_the_last_approved_one(world: World) -> None:
    before, now = story(world)
    client = signed_in(world.viewer)
    text = client.get(f"/revisions/{now.revision_id}/").content.decode()
    assert f"What changed since {SHA_A[:7]}" in text
    assert 'id="changes"' not in client.get(f"/revisions/{before.revision_id}/").content.decode()


def test_api_gives_what_changed_and_where_answers_come_from(world: World) -> None:
    before, now = story(world)
    data = Api.of(world.reviewer).get(f"/reviews/{now.pk}").data
    assert data["follows"] == before.pk
    assert data["delta"] == [
        {"class": "card", "why": ["README.md"], "more": 0},
        {"class": "weights", "why": ["extra.bin"], "more": 0},
    ]
    origins = {a["key"]: a["carried_from"] for a in data["answers"]}
    assert origins == {a.key: a.carried_from_id for a in now.answers.all()} and all(origins.values())


def revised(world: World, sha: str, **fields: Any) -> Revision:
    """A revision row as another intake would have left it; rows never change, so it is told while it is made."""
    made = make_revision(world.team, sha, files=fields.pop("files", contents()))
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def test_panel_shows_card_config_labels_tokenizer_and_files(world: World) -> None:
    old = revised(
        world,
        SHA_A,
        card_text="# A\n\nsame\nold words\n",
        config={"a": 1, "b": {"c": 2}, "gone": ""},
        label_mapping={"0": "no", "1": "yes"},
        facts={"tokenizer": {"vocab_size": 10, "lowercase": True}},
    )
    new = revised(world, SHA_B, card_text="# A\n\nsame\nnew words\n", config={"a": 1, "b": {"c": 3}, "more": [1]},
                  label_mapping={"0": "yes", "1": "no"}, facts={"tokenizer": {"vocab_size": 11, "lowercase": True}},
                  files=contents(model__safetensors=b"longer", new__txt=b"1") | {"tokenizer.json": b"[]"})  # fmt: skip
    found = changes_between(old, new)
    assert found is not None
    signs = [(row.sign, row.number, "".join(part.text for part in row.parts)) for row in found["card"]]
    assert ("-", 4, "old words") in signs and ("+", 4, "new words") in signs and ("", 3, "same") in signs
    config = {row["name"]: (row["sign"], row["old"], row["new"]) for row in found["config"]["rows"]}
    assert config == {"b.c": ("~", "2", "3"), "gone": ("−", '""', ""), "more": ("+", "", "[1]")}
    labels = [(row["name"], row["old"], row["new"]) for row in found["labels"]["rows"]]
    assert labels == [("0", "no", "yes"), ("1", "yes", "no")]
    assert [(row["name"], row["old"], row["new"]) for row in found["tokenizer"]["rows"]] == [
        ("Vocabulary", "10", "11")
    ]
    named = {row["name"]: (row["sign"], row["old"], row["new"]) for row in found["files"]["rows"]}
    assert named["model.safetensors"] == ("~", "1", "6") and named["new.txt"] == ("+", "", "1")
    assert found["files"]["unchanged"] == 2


def test_panel_is_bounded(world: World) -> None:
    words = "\n".join(f"line {n}" for n in range(20_000))
    old = revised(world, SHA_A, card_text=words, config={f"k{n}": n for n in range(1000)})
    new = revised(world, SHA_B, card_text=words.replace("line", "row"), config={})
    found = changes_between(old, new)
    assert found is not None
    assert len(found["card"]) == 400 and found["card_cut"]
    assert (len(found["config"]["rows"]), found["config"]["more"]) == (200, 800)


def test_panel_hides_no_hostile_words(world: World) -> None:
    old = revised(world, SHA_A)
    new = revised(world, SHA_B, card_text="<script>alert(1)</script>\u202e\n")
    found = changes_between(old, new)
    assert found is not None
    assert any(part.hidden == "RIGHT-TO-LEFT OVERRIDE" for row in found["card"] for part in row.parts)


def test_what_was_approved_last_before(world: World) -> None:
    first, second, third = (make_revision(world.team, sha) for sha in (SHA_A, SHA_B, SHA_C))
    now = timezone.now()
    make_approval(world, first, approved_at=now - timedelta(days=2))
    make_approval(world, second, approved_at=now - timedelta(days=1))
    assert [last_approved_before(each) for each in (first, second, third)] == [None, first, second]


def test_the_panel_asks_the_database_the_same_for_many_files(world: World) -> None:
    counts = []
    for shas, number in (((SHA_A, SHA_B), 2), (("1" * 40, "2" * 40), 60)):
        old, new = (
            make_revision(world.team, sha, files={f"f{n}.md": f"{sha}{n}".encode() for n in range(number)})
            for sha in shas
        )
        with CaptureQueriesContext(
            connection,
        ) as asked:
            changes_between(old, new)
        counts.append(len(asked))
    assert counts[0] == counts[1] == 4
