"""Refusals are pages for people: what happened, what to do, and the way home."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.checks import sideways, structure
from tests.browser.windows import Windows
from tests.factories import World
from tests.pages.test_pages import Story


def test_unknown_address_says_so_and_leads_on(windows: Windows, world: World) -> None:
    windows.expect_status(404)
    page = windows.open(world.viewer)
    page.goto("/no/such/page/")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing here")
    expect(page.get_by_role("heading", name="What to do")).to_be_visible()
    assert structure(page) + sideways(page) == []
    page.get_by_role("link", name="See all models").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Models")


def test_pages_of_another_team_do_not_exist(windows: Windows, story: Story) -> None:
    windows.expect_status(404)
    page = windows.open(story.world.other)
    for name in ("model", "review", "channel", "run"):
        page.goto(story.addresses[name])
        expect(page.get_by_role("heading", level=1)).to_have_text("There is nothing here")
        assert "sentiment-vi-en" not in page.content()


def test_page_of_another_role_says_which_role_it_needs(windows: Windows, world: World) -> None:
    windows.expect_status(403)
    page = windows.open(world.viewer)
    page.goto("/reviews/new/")
    expect(page.get_by_role("heading", level=1)).to_have_text("You may not do that")
    expect(page.locator("main")).to_contain_text("role")
    expect(page.locator("main")).to_contain_text("You are signed in as viewer")
    assert structure(page) + sideways(page) == []
    page.get_by_role("link", name="Go to Home").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Home")
