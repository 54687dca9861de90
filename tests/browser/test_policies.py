"""The policy editor: facts complete themselves, the simulator answers beside the text, and the keyboard is not trapped."""

from __future__ import annotations

from django.urls import reverse
from playwright.sync_api import expect

from reviews.models import PolicyVersion
from tests.browser.windows import Windows
from tests.pages.test_pages import Story


def test_facts_are_offered_while_typing_and_tab_takes_the_first(windows: Windows, story: Story) -> None:
    page = windows.open(story.world.admin)
    page.goto(reverse("policy_edit"))
    editor, offers = page.get_by_label("Rules (YAML)"), page.locator("#fact-offers button")
    editor.fill("")
    editor.press_sequentially("require: lat")
    expect(offers).to_have_text(["latency.p50_ms", "latency.p95_ms"])
    editor.press("Tab")
    expect(editor).to_have_value("require: latency.p50_ms")
    expect(offers).to_have_count(0)
    editor.press("Tab")  # nothing is offered: Tab goes on, as everywhere else
    expect(editor).not_to_be_focused()


def test_escape_takes_the_offers_away_and_a_click_takes_any(windows: Windows, story: Story) -> None:
    page = windows.open(story.world.admin)
    page.goto(reverse("policy_edit"))
    editor, offers = page.get_by_label("Rules (YAML)"), page.locator("#fact-offers button")
    editor.fill("")
    editor.press_sequentially("findings.f")
    expect(offers).to_have_text(["findings.fail", "findings.first_fail"])
    editor.press("Escape")
    expect(offers).to_have_count(0)
    editor.press_sequentially("i")
    offers.first.click()
    expect(editor).to_have_value("findings.first_fail")
    expect(editor).to_be_focused()


def test_simulator_answers_beside_the_text_and_writes_nothing(windows: Windows, story: Story) -> None:
    page = windows.open(story.world.admin)
    page.goto(reverse("policy_edit") + "?policy=production-minimum")
    editor, answer = page.get_by_label("Rules (YAML)"), page.locator("#simulation")
    beside = page.locator("#simulator").bounding_box()
    writing = editor.bounding_box()
    assert beside and writing and beside["x"] > writing["x"] + writing["width"]
    page.get_by_role("button", name="What would flip?").click()
    expect(answer).to_contain_text("2 pending and approved looked at")
    editor.fill("policy: our-rules")
    page.get_by_role("button", name="What would flip?").click()
    expect(answer).to_contain_text("`title` is missing")
    assert not PolicyVersion.objects.exists()
