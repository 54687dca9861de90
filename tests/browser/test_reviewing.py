"""A reviewer at work: by keyboard and by mouse, each answer saved as it is given, and then the decision."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection
from playwright.sync_api import Locator, Page, expect

from registry.enums import Role
from registry.models import Revision
from reviews import checklists
from reviews.enums import ReviewStatus
from reviews.models import Answer
from reviews.services.deciding import decide
from tests.browser.windows import Windows
from tests.factories import answer_all, make_member
from tests.house.rules import without_rules
from tests.pages.test_pages import Story, waive_worse_figures

CARD = (
    """---
license: apache-2.0
language:
- vi
- en
---
# A classifier of reviews

It reads one review and says how its writer feels.

## Direct use

Sorting short reviews of shops by mood.

## Limitations

Sarcasm is read as praise.
"""
    + "\nMore words that nobody cites.\n" * 40
)


@pytest.fixture
def story(story: Story) -> Story:
    """The story, its candidate with a card that can be cited line by line."""
    with without_rules(connection):
        Revision.objects.filter(pk=story.v2.pk).update(
            card_text=CARD, card_data={"license": "apache-2.0", "language": ["vi", "en"]}
        )
    waive_worse_figures(story)
    return story


def open_review(windows: Windows, story: Story) -> Page:
    page = windows.open(story.world.reviewer)
    page.goto(story.addresses["review"])
    return page


def expect_progress(page: Page, done: int) -> None:
    expect(page.locator("#review-progress")).to_contain_text(f"{done} of 48 answered")


def test_reviewer_goes_through_the_ten_sections_by_keyboard_and_approves(
    windows: Windows, story: Story
) -> None:
    """j to the next item, a accepts what has a source, e writes where only a person can judge."""
    page = open_review(windows, story)
    expect_progress(page, 0)
    expect(page.get_by_role("button", name="Approve")).to_be_disabled()
    expect(page.locator("#review-missing")).to_contain_text("“License” is not answered.")
    offered = checklists.suggestions_for(story.review)
    for number, item in enumerate(story.review.checklist, 1):
        page.keyboard.press("j")
        expect(page.locator("[data-item].is-current .item-number")).to_have_text(str(number))
        if item["key"] in offered:
            page.keyboard.press("a")
        else:
            page.keyboard.press("e")
            answer_by_keyboard(page, item)
        expect_progress(page, number)
    expect(page.locator("#section-progress-license")).to_have_text("5/5")
    expect(page.locator("#saved-license")).to_contain_text("suggestion accepted")
    expect(page.locator("#review-missing")).to_contain_text("Write the conditions")

    # Nobody reloaded the page: the decision knows of the answers that were saved from it.
    page.get_by_label("Conditions of use").fill("For sorting reviews only.")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Your vote for acme/sentiment-vi-en is cast").first).to_be_visible()
    second = make_member(story.world.team, Role.REVIEWER)
    decide(actor=second, request_pk=story.review.pk, decision="approved")
    page.reload()
    expect(page.locator("#outcome")).to_contain_text("Approved")
    story.review.refresh_from_db()
    assert story.review.status == ReviewStatus.APPROVED
    assert story.review.approval is not None


def answer_by_keyboard(page: Page, item: dict[str, Any]) -> None:
    """`e` stands in the first field: an option (space chooses it and saves) or the text (Escape leaves it and saves)."""
    if item["type"] == "choice":
        page.keyboard.press("Space")
    else:
        page.keyboard.type("I have read it; j and a are letters here.")
        page.keyboard.press("Escape")


def test_decision_on_answers_that_somebody_changed_is_refused_once(windows: Windows, story: Story) -> None:
    """The page shows what is there now, so the next press is a decision on that."""
    windows.expect_status(409)
    answer_all(story.world, story.review)
    page = open_review(windows, story)
    expect_progress(page, 48)
    Answer.objects.filter(request=story.review, key="dataset").update(
        text="It was trained on our own tickets.", version=2
    )
    page.get_by_role("button", name="Approve").click()
    expect(
        page.get_by_text(
            "Somebody changed an answer or the decision record after you opened this page."
        ).first
    ).to_be_visible()
    expect(page.locator("#item-dataset .given")).to_contain_text("It was trained on our own tickets.")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Your vote for acme/sentiment-vi-en is cast").first).to_be_visible()


def test_two_people_at_once_lose_no_words(windows: Windows, story: Story) -> None:
    """Both open the page; the second one to save is shown the first one's words beside the own, and joins them."""
    windows.expect_status(409)
    first = open_review(windows, story)
    second = windows.open(make_member(story.world.team, Role.REVIEWER, username="second"))
    second.goto(story.addresses["review"])
    for page, words in ((first, "Words of the first."), (second, "Words of the second.")):
        item = go_to(page, "license")
        item.locator("[data-correct] > summary").click()
        item.get_by_label("In your words").fill(words)
        item.get_by_label("In your words").blur()
        if page is first:
            expect(item.locator(".saved")).to_contain_text("suggestion corrected")
    clash = second.locator("#item-license .clash")
    expect(clash).to_contain_text("reviewer answered this after you opened it")
    expect(clash.locator("[data-theirs]")).to_contain_text("Words of the first.")
    text = second.locator("#item-license").get_by_label("In your words")
    expect(text).to_have_value("Words of the second.")
    assert Answer.objects.get(request=story.review).text == "Words of the first."
    clash.get_by_role("button", name="Add their words to mine").click()
    expect(text).to_have_value("Words of the second.\nWords of the first.")
    expect(second.locator("#item-license .saved")).to_contain_text("suggestion corrected")
    assert Answer.objects.get(request=story.review).text == "Words of the second.\nWords of the first."


def go_to(page: Page, key: str) -> Locator:
    """Opens the item's section and gives the item."""
    item = page.locator(f"#item-{key}")
    if not item.is_visible():
        page.locator("[data-section]").filter(has=item).locator("> summary").click()
    return item


def test_concern_by_mouse_needs_words_and_then_conditions(windows: Windows, story: Story) -> None:
    windows.expect_status(422)
    page = open_review(windows, story)
    item = go_to(page, "limitations")
    item.locator("[data-correct] > summary").click()
    item.get_by_label("In your words").fill("")
    item.get_by_text("Concern", exact=True).click()
    expect(item.locator(".saved")).to_contain_text("say what the concern is")
    expect_progress(page, 0)
    item.get_by_label("In your words").fill("Sarcasm is read as praise, often.")
    item.get_by_label("In your words").blur()
    expect(item.locator(".saved")).to_contain_text("Concern")
    expect_progress(page, 1)
    expect(page.locator("#review-missing")).to_contain_text("Write the conditions")
    answer = Answer.objects.get(request=story.review)
    assert (answer.key, answer.verdict, answer.text) == (
        "limitations", "concern", "Sarcasm is read as praise, often.",
    )  # fmt: skip


def test_citation_opens_the_source_and_marks_its_lines(windows: Windows, story: Story) -> None:
    page = open_review(windows, story)
    expect(page.locator("#L3")).to_be_hidden()
    go_to(page, "language").get_by_role("link", name="README.md lines 3-5").click()
    expect(page.get_by_role("tab", name="Source with line numbers")).to_have_attribute(
        "aria-selected", "true"
    )
    expect(page.locator(".source .is-cited")).to_have_text([r"3language:", r"4- vi", r"5- en"])
    go_to(page, "limitations").get_by_role("link", name="README.md lines").click()
    cited = page.locator(".source .is-cited")
    expect(cited.first).to_contain_text("## Limitations")
    expect(cited.first).to_be_in_viewport()
    expect(page.locator("#L3")).not_to_have_class("is-cited")


def test_next_item_shows_where_the_card_speaks_of_it(windows: Windows, story: Story) -> None:
    page = open_review(windows, story)
    for _ in range(7):
        page.keyboard.press("j")
    expect(page.locator("#item-license")).to_have_class(re.compile("is-current"))
    expect(page.locator(".source .is-cited")).to_have_text(["2license: apache-2.0"])
    page.keyboard.press("k")
    expect(page.locator("[data-item].is-current .item-number")).to_have_text("6")


def test_next_item_stands_below_the_top_bar_and_above_the_foot(windows: Windows, story: Story) -> None:
    """At once, however fast the keys come: a scroll that is still under way would leave the item behind."""
    page = open_review(windows, story)
    tops = []
    for _ in range(9):
        page.keyboard.press("j")
        tops.append(
            page.evaluate(
                """() => {
                  const item = document.querySelector(".item.is-current").getBoundingClientRect();
                  const bar = document.querySelector(".topbar").getBoundingClientRect();
                  return [Math.round(bar.top), Math.round(item.top - bar.bottom)];
                }"""
            )
        )
    assert all(bar == 0 and 0 < gap < 40 for bar, gap in tops), tops


def test_keyboard_leaves_every_item_with_tab(windows: Windows, story: Story) -> None:
    """No trap: from the open form of the first item Tab reaches the next item, and the foot in the end."""
    page = open_review(windows, story)
    page.keyboard.press("j")
    page.keyboard.press("e")
    seen = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.add(
            page.evaluate(
                "document.activeElement.closest('[data-item]')?.id ?? document.activeElement.tagName"
            )
        )
    assert {"item-model_id", "item-revision", "item-review_date"} <= seen


def test_thread_by_keyboard_is_answered_and_settled(windows: Windows, story: Story) -> None:
    page = open_review(windows, story)
    page.keyboard.press("j")
    page.keyboard.press("c")
    page.keyboard.type("Is this the right one, @submitter?")
    item = page.locator("#item-model_id")
    item.get_by_role("button", name="Ask for this change").click()
    expect(item.locator(".thread")).to_contain_text("Is this the right one, @submitter?")
    theirs = windows.open(story.world.submitter)
    theirs.goto("/")
    theirs.get_by_role("link", name="reviewer asks you about").click()
    thread = theirs.locator("#item-model_id .thread")
    expect(thread).to_contain_text("Change asked for")
    thread.locator("summary").filter(has_text="Answer").click()
    thread.get_by_label("Your words").fill("Yes, it is.")
    thread.get_by_role("button", name="Send").click()
    expect(thread).to_contain_text("Yes, it is.")
    page.reload()
    go_to(page, "model_id").get_by_role("button", name="Resolve").click()
    expect(page.locator("#item-model_id .thread")).to_contain_text("Change settled")


def test_suggestion_is_accepted_without_javascript(windows: Windows, story: Story) -> None:
    page = windows.open(story.world.reviewer, script=False)
    page.goto(story.addresses["review"])
    page.locator("#item-revision [data-accept]").click()
    expect(page.locator("#saved-revision")).to_contain_text("suggestion accepted")
    expect_progress(page, 1)
    assert Answer.objects.get(request=story.review).text == story.v2.commit_sha


def test_submitter_sees_why_they_may_not_approve(windows: Windows, story: Story) -> None:
    page = windows.open(story.world.submitter)
    page.goto(story.addresses["review"])
    expect(page.get_by_role("button", name="Approve")).to_be_disabled()
    expect(page.locator("#why-not")).to_contain_text(
        "You submitted this model, so somebody else must approve it."
    )
    expect(page.locator("[data-item] input[type=radio]")).to_have_count(0)


def test_answer_without_a_connection_is_not_lost_and_says_so(windows: Windows, story: Story) -> None:
    windows.is_offline_meant = True
    page = open_review(windows, story)
    page.context.set_offline(True)
    item = go_to(page, "license")
    item.locator("[data-correct] > summary").click()
    item.get_by_label("In your words").fill("Read and fine.")
    item.get_by_label("In your words").blur()
    expect(page.locator("#request-failed")).to_contain_text("could not be reached")
    page.context.set_offline(False)
    item.get_by_text("Acceptable", exact=True).click()
    item.get_by_label("In your words").fill("Read and fine, again.")
    item.get_by_label("In your words").blur()
    expect_progress(page, 1)
    expect(page.locator("#request-failed")).to_have_count(0)
    assert Answer.objects.get(request=story.review).text == "Read and fine, again."


def test_answer_after_signing_out_elsewhere_keeps_the_words_and_says_so(
    windows: Windows, story: Story
) -> None:
    windows.expect_status(401)
    page = open_review(windows, story)
    page.context.clear_cookies(name="sessionid")
    item = go_to(page, "license")
    item.locator("[data-correct] > summary").click()
    item.get_by_label("In your words").fill("Words that took an hour.")
    item.get_by_label("In your words").blur()
    expect(page.locator("#request-failed")).to_contain_text("You have been signed out")
    expect(item.get_by_label("In your words")).to_have_value("Words that took an hour.")
    assert not Answer.objects.filter(request=story.review).exists()
