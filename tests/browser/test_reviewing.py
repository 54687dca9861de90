"""A reviewer at work: by keyboard and by mouse, each answer saved as it is given, and then the decision."""

from __future__ import annotations

import pytest
from django.db import connection
from playwright.sync_api import Page, expect

from registry.models import Revision
from reviews.enums import ReviewStatus
from reviews.models import Answer
from tests.browser.windows import Windows
from tests.factories import answer_all
from tests.house.rules import without_rules
from tests.pages.test_pages import Story

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
    return story


def open_review(windows: Windows, story: Story) -> Page:
    page = windows.open(story.world.reviewer)
    page.goto(story.addresses["review"])
    return page


def expect_progress(page: Page, done: int) -> None:
    expect(page.locator("#review-progress")).to_contain_text(f"{done} of 8 answered")


def test_reviewer_answers_all_items_by_keyboard_and_approves(windows: Windows, story: Story) -> None:
    page = open_review(windows, story)
    expect_progress(page, 0)
    expect(page.get_by_role("button", name="Approve")).to_be_disabled()
    expect(page.locator("#review-missing")).to_contain_text("“Licence” is not answered.")
    for number in range(1, 9):
        page.keyboard.press("j")
        expect(page.locator("[data-item].is-current .item-number")).to_have_text(str(number))
        page.keyboard.press("1")
        expect_progress(page, number)
    expect(page.locator("#saved-inference")).to_contain_text("Acceptable")
    expect(page.locator("#saved-inference")).to_contain_text("by reviewer")
    expect(page.locator("#review-missing")).to_contain_text("Nothing is missing.")

    # Nobody reloaded the page: the decision knows of the answers that were saved from it.
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("is decided: approved.")).to_be_visible()
    expect(page.locator("#outcome")).to_contain_text("Approved by reviewer")
    story.review.refresh_from_db()
    assert story.review.status == ReviewStatus.APPROVED
    assert story.review.approval is not None


def test_decision_on_answers_that_somebody_changed_is_refused_once(windows: Windows, story: Story) -> None:
    """The page shows what is there now, so the next press is a decision on that."""
    windows.expect_status(409)
    answer_all(story.world, story.review)
    page = open_review(windows, story)
    expect_progress(page, 8)
    Answer.objects.filter(request=story.review, key="dataset").update(
        text="It was trained on our own tickets."
    )
    # An answer of one's own in between does not hide what somebody else wrote.
    page.locator("#item-license").get_by_label("In your words").fill("Apache-2.0, with attribution.")
    page.locator("#item-license").get_by_label("In your words").blur()
    expect(page.locator("#request-failed")).to_have_count(0)
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Somebody changed an answer after you opened this page.").first).to_be_visible()
    expect(page.locator("#item-dataset").get_by_label("In your words")).to_have_value(
        "It was trained on our own tickets."
    )
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("is decided: approved.")).to_be_visible()


def test_concern_by_mouse_needs_words_and_then_conditions(windows: Windows, story: Story) -> None:
    windows.expect_status(422)
    page = open_review(windows, story)
    item = page.locator("#item-limitations")
    item.get_by_text("Concern", exact=True).click()
    expect(item.locator(".saved")).to_contain_text("say what the concern is")
    expect_progress(page, 0)
    item.get_by_label("In your words").fill("Sarcasm is read as praise.")
    item.get_by_label("In your words").blur()
    expect(item.locator(".saved")).to_contain_text("Concern")
    expect_progress(page, 1)
    expect(page.locator("#review-missing")).to_contain_text("Write the conditions")
    answer = Answer.objects.get(request=story.review)
    assert (answer.key, answer.verdict, answer.text) == (
        "limitations", "concern", "Sarcasm is read as praise.",
    )  # fmt: skip


def test_words_of_a_source_are_taken_and_written_on(windows: Windows, story: Story) -> None:
    windows.expect_status(422)  # words without an answer are not saved, and that is said
    page = open_review(windows, story)
    page.keyboard.press("j")
    page.keyboard.press("a")
    words = page.locator("#item-license").get_by_label("In your words")
    expect(words).to_have_value("Declared licence: apache-2.0")
    expect(words).to_be_focused()
    page.keyboard.press("End")
    page.keyboard.type(" / j 1 are letters here")
    expect(words).to_have_value("Declared licence: apache-2.0 / j 1 are letters here")
    page.keyboard.press("Escape")
    page.keyboard.press("1")
    expect_progress(page, 1)
    assert (
        Answer.objects.get(request=story.review).text == "Declared licence: apache-2.0 / j 1 are letters here"
    )


def test_citation_opens_the_source_and_marks_its_lines(windows: Windows, story: Story) -> None:
    page = open_review(windows, story)
    expect(page.locator("#L3")).to_be_hidden()
    page.locator("#item-language").get_by_role("link", name="README.md lines 3-5").click()
    expect(page.get_by_role("tab", name="Source with line numbers")).to_have_attribute(
        "aria-selected", "true"
    )
    expect(page.locator(".source .is-cited")).to_have_text([r"3language:", r"4- vi", r"5- en"])
    page.locator("#item-limitations").get_by_role("link", name="README.md lines").click()
    cited = page.locator(".source .is-cited")
    expect(cited.first).to_contain_text("## Limitations")
    expect(cited.first).to_be_in_viewport()
    expect(page.locator("#L3")).not_to_have_class("is-cited")


def test_next_item_shows_where_the_card_speaks_of_it(windows: Windows, story: Story) -> None:
    page = open_review(windows, story)
    page.keyboard.press("j")
    expect(page.locator(".source .is-cited")).to_have_text(["2license: apache-2.0"])


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
    item = page.locator("#item-license")
    item.get_by_label("In your words").fill("Read and fine.")
    item.get_by_text("Acceptable", exact=True).click()
    expect(page.locator("#request-failed")).to_contain_text("could not be reached")
    page.context.set_offline(False)
    item.get_by_text("The card does not say", exact=True).click()
    expect_progress(page, 1)
    expect(page.locator("#request-failed")).to_have_count(0)
    assert Answer.objects.get(request=story.review).text == "Read and fine."


def test_answer_after_signing_out_elsewhere_keeps_the_words_and_says_so(
    windows: Windows, story: Story
) -> None:
    windows.expect_status(401)
    page = open_review(windows, story)
    page.context.clear_cookies(name="sessionid")
    item = page.locator("#item-license")
    item.get_by_label("In your words").fill("Words that took an hour.")
    item.get_by_text("Acceptable", exact=True).click()
    expect(page.locator("#request-failed")).to_contain_text("You have been signed out")
    expect(item.get_by_label("In your words")).to_have_value("Words that took an hour.")
    assert not Answer.objects.filter(request=story.review).exists()
