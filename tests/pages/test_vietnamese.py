"""Somebody who has chosen Vietnamese meets no English sentence of ours, on any page, in any role.

What people, authors of models and programs wrote stays as they wrote it: it is taken out of the page before the page is read.
"""

from __future__ import annotations

import functools
import re
from html.parser import HTMLParser

import pytest
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from inference.models import GoldenSet
from registry import audit, stored_words
from registry.enums import Role
from registry.models import Approval, ChannelMove, Job, Revision
from reviews.enums import ReviewStatus
from reviews.models import Answer, CodeWaiver, FileVerdict, ReviewComment, ReviewRequest, Vote, Waiver
from reviews.models.comments import CommentKind
from reviews.policies.documents import default_policy
from reviews.services.policies import move_policy, save_policy
from tests.factories import make_member
from tests.pages.test_languages import catalogue
from tests.pages.test_pages import Story, signed_in, waive_worse_figures
from tests.reviews.code import code_revision

# Words that stand in nearly every English sentence, and that no Vietnamese one has (nor a name of the field's).
ENGLISH = re.compile(
    r"(?<![\w-])(the|must|you|your|is|are|was|were|has|have|this|that|these|which|with|and|not|nothing|cannot|nobody|somebody|every"
    r"|before|after|from|been|will|would|its|their|by|of|who)(?![\w(-])",
    re.IGNORECASE,
)
# Elements whose text is not ours: code and logs, what authors of models wrote, what is typed into fields.
FOREIGN_TAGS = {"script", "style", "pre", "code", "textarea", "kbd", "template", "svg"}
FOREIGN_CLASSES = {"foreign", "source", "mono", "sha", "language", "brand"}
SHOWN_ATTRIBUTES = {"aria-label", "title", "placeholder", "alt", "data-label", "label"}
VOID = {"input", "br", "hr", "img", "meta", "link", "use"}
# Texts of people: whatever stands in these columns may stand on a page, in any language.
WRITTEN_BY_PEOPLE: dict[type[Model], tuple[str, ...]] = {
    ReviewRequest: (
        "use_case", "decision_reason", "conditions", "owner", "problem", "fallback", "data_policy", "rollback_target",
    ),
    Answer: ("text", "value"),
    Vote: ("reason",),
    ReviewComment: ("text",),
    Approval: ("use_case", "conditions", "status_reason", "owner", "fallback", "data_policy", "rollback_target"),
    ChannelMove: ("reason",),
    GoldenSet: ("name",),
    Waiver: ("reason",),
    CodeWaiver: ("reason",),
    FileVerdict: ("reason",),
    Job: ("log_tail",),
    Revision: ("card_text",),
}  # fmt: skip


class Reader(HTMLParser):
    """The words of a page that are ours: text and what a screen reader is told."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[tuple[str, bool]] = []
        self.texts: list[str] = []

    @property
    def is_foreign(self) -> bool:
        return any(foreign for _, foreign in self.open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        classes = set((given.get("class") or "").split())
        foreign = tag in FOREIGN_TAGS or bool(classes & FOREIGN_CLASSES) or given.get("lang") == "en"
        if not self.is_foreign and not foreign:
            self.texts += [value for name, value in attrs if name in SHOWN_ATTRIBUTES and value]
        if tag not in VOID:
            self.open.append((tag, foreign))

    def handle_endtag(self, tag: str) -> None:
        while self.open:
            name, _ = self.open.pop()
            if name == tag:
                break

    def handle_data(self, data: str) -> None:
        if not self.is_foreign and data.strip():
            self.texts.append(" ".join(data.split()))


def written_by_people() -> list[str]:
    found: set[str] = set()
    for model, names in WRITTEN_BY_PEOPLE.items():
        for row in model._default_manager.all():
            for name in names:
                try:
                    model._meta.get_field(name)
                except FieldDoesNotExist:  # pragma: no cover - the table above is wrong
                    pytest.fail(f"{model.__name__} has no {name}")
                found |= {" ".join(line.split()) for line in str(getattr(row, name) or "").splitlines()}
    return sorted((text for text in found if len(text) > 3), key=len, reverse=True)


@functools.cache
def translated_words() -> frozenset[str]:
    """What the catalogue says otherwise in Vietnamese: a label that stands on the page as it is in English was forgotten."""
    return frozenset(text for text, told in catalogue().items() if told != text)


def english_of(page: str, people: list[str]) -> list[str]:
    reader = Reader()
    reader.feed(page)
    found = []
    for text in reader.texts:
        left = text
        for words in people:
            left = left.replace(words, " ").replace(words[:1].upper() + words[1:], " ")
        if ENGLISH.search(left) or " ".join(left.split()) in translated_words():
            found.append(left)
    return found


def test_an_english_sentence_is_found_and_what_people_wrote_is_not() -> None:
    page = '<p>You may not do that.</p><p>Lý do: It is the best.</p><code>that is</code><a title="See the page">Xem</a>'
    assert english_of(page, ["It is the best."]) == ["You may not do that.", "See the page"]


@pytest.fixture
def full(story: Story) -> dict[str, str]:
    """Every page, with as much on it as one world has: refusals, waivers, a failed run, threads, a policy on trial."""
    world = story.world
    waive_worse_figures(story)
    story.addresses["waivers"] = reverse("waiver_list")
    version = save_policy(
        actor=world.admin, seen=0, source=default_policy().source.replace("production-minimum", "on-trial"),
    )  # fmt: skip
    move_policy(actor=world.admin, version_pk=version.pk, state="dry_run")
    Job.objects.filter(pk=Job.objects.order_by("-pk")[0].pk).update(
        state="failed", error="It did not finish within 5 seconds (setting X) and was ended."
    )
    ReviewComment.objects.create(
        request=story.review, key="license", kind=CommentKind.CHANGE, round=1, by=world.reviewer.user, at=timezone.now(),
        text="Please say which licence this is.",
    )  # fmt: skip
    audit.record_access(actor=world.viewer, verb="access.denied", action="x", code="y")
    coded = code_revision(world, "e" * 40)
    asked = ReviewRequest.objects.exclude(status=ReviewStatus.IN_REVIEW).first()
    return story.addresses | {
        "code audit": reverse("revision_code", args=[coded.pk]),
        "revision with code": reverse("revision_detail", args=[coded.pk]),
        "policies": reverse("policy_list"),
        "policy": reverse("policy_detail", args=["on-trial"]),
        "shipped policy": reverse("policy_detail", args=["production-minimum"]),
        "policy editor": reverse("policy_edit") + "?policy=production-minimum",
        "new policy": reverse("policy_edit"),
        "waive": reverse("waiver_new", args=[story.v2.pk]),
        "templates": reverse("template_list"),
        "template new": reverse("template_new"),
        "channel then": reverse("channel_detail", args=[story.move.channel_id]) + f"?at={timezone.now():%Y-%m-%dT%H:%M}",
        **({"decided review": reverse("review_detail", args=[asked.pk])} if asked else {}),
    }  # fmt: skip


@pytest.mark.parametrize("role", [*(role.value for role in Role), "everything"])
def test_no_page_says_an_english_sentence(story: Story, full: dict[str, str], role: str) -> None:
    world = story.world
    actor = (
        make_member(world.team, *Role, username="everything") if role == "everything" else world.by_role(role)
    )
    client, found = signed_in(actor), {}
    people = written_by_people()
    for name, address in full.items():
        answer = client.get(address, headers={"Accept-Language": "vi"})
        assert answer.status_code in (200, 403), f"{name}: {answer.status_code}"
        if english := english_of(answer.content.decode(), people):
            found[name] = english
    assert not found, "\n".join(f"{name}: {text}" for name, texts in found.items() for text in texts)


def test_what_forms_answer_is_in_vietnamese(story: Story) -> None:
    """Empty and wrong forms of a person with every role: each answer is read like a page."""
    client = signed_in(make_member(story.world.team, *Role, username="everything"))
    people, found = written_by_people(), {}
    posts = {
        "submit": (reverse("review_new"), {"model_id": "no id", "use_case": "x"}),
        "token": (reverse("token_list"), {"name": "", "days": "0"}),
        "golden set": (reverse("goldenset_new"), {"model_id": "", "name": ""}),
        "move": (reverse("channel_move", args=[story.move.channel_id]), {"reason": "x"}),
        "rollback": (reverse("channel_roll_back", args=[story.move.channel_id]), {"reason": "nothing to go back to"}),
        "decide": (reverse("review_decide", args=[story.review.pk]), {"decision": "approved"}),
        "reject": (reverse("review_decide", args=[story.review.pk]), {"decision": "rejected"}),
        "changes": (reverse("review_changes", args=[story.review.pk]), {}),
        "record": (reverse("review_record", args=[story.review.pk]), {"expires_at": "2001-01-01"}),
        "policy": (reverse("policy_edit"), {"source": "policy: 1\nrules: no"}),
        "simulate": (reverse("policy_simulate"), {"source": "policy: x"}),
        "waive": (reverse("waiver_new", args=[story.v2.pk]), {"rule": "x", "days": "0"}),
        "template": (reverse("template_new"), {"source": "slug: x"}),
        "suspend": (reverse("approval_change", args=[story.approval.pk, "suspend"]), {"reason": ""}),
        "comment": (reverse("review_comment", args=[story.review.pk]), {"text": "", "key": "license"}),
    }  # fmt: skip
    for name, (address, data) in posts.items():
        answer = client.post(address, data, headers={"Accept-Language": "vi"}, follow=True)
        if english := english_of(answer.content.decode(), people):
            found[name] = english
    assert not found, "\n".join(f"{name}: {text}" for name, texts in found.items() for text in texts)


def test_refusal_is_in_vietnamese_on_the_page_and_in_the_api(story: Story) -> None:
    client = signed_in(story.world.submitter)
    page = client.post(
        reverse("channel_move", args=[story.move.channel_id]),
        {"reason": "because"},
        headers={"Accept-Language": "vi"},
    )
    assert "bạn cần vai trò release manager" in page.content.decode()
    address = f"/api/v1/reviews/{story.review.pk}/decision"
    for language, words in (
        ("vi", "Bạn đã gửi model này"),
        ("en", "You submitted this model"),
        ("", "You submitted this model"),
    ):
        answer = client.post(
            address, {"decision": "approved"}, content_type="application/json",
            headers={"Accept-Language": language} if language else {},
        )  # fmt: skip
        assert (
            answer.json()["error"]["message"].startswith(words)
            and answer.json()["error"]["code"] == "four_eyes"
        )


def test_stranger_reads_the_sign_in_page_in_vietnamese(client: Client, db: None) -> None:
    for address in (reverse("login"), "/not/there/"):
        answer = client.get(address, headers={"Accept-Language": "vi"})
        assert english_of(answer.content.decode(), []) == [], address


def test_table_of_peoples_words_names_columns_that_are_there() -> None:
    for model, names in WRITTEN_BY_PEOPLE.items():
        assert set(names) <= {field.name for field in model._meta.get_fields()}, model


def test_kept_sentences_have_no_english_in_vietnamese() -> None:
    from django.utils.translation import gettext, override

    with override("vi"):
        assert [text for text in stored_words.KEPT if gettext(text) == text and ENGLISH.search(text)] == []
