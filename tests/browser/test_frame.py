"""What surrounds every page: theme, search, menu; and what is true of every page, on a desk and on a phone."""

from __future__ import annotations

from playwright.sync_api import expect

from registry.enums import Role
from registry.services.channels import move_channel
from tests.browser.checks import sideways, structure
from tests.browser.windows import PHONE, Windows
from tests.factories import World, make_approval, make_member, make_revision
from tests.pages.test_pages import Story


def test_theme_follows_the_system_until_a_person_chooses(windows: Windows, world: World) -> None:
    page = windows.open(world.viewer, dark=True)
    root = page.locator("html")
    page.goto("/")
    expect(root).to_have_attribute("data-bs-theme", "dark")
    page.emulate_media(color_scheme="light")
    expect(root).to_have_attribute("data-bs-theme", "light")
    page.get_by_role("button", name="Switch between the light and the dark theme").click()
    expect(root).to_have_attribute("data-bs-theme", "dark")
    page.goto("/models/")
    expect(root).to_have_attribute("data-bs-theme", "dark")
    page.reload()
    expect(root).to_have_attribute("data-bs-theme", "dark")


def test_slash_goes_to_the_search_but_not_while_typing(windows: Windows, story: Story) -> None:
    page = windows.open(story.world.viewer)
    page.goto("/")
    page.keyboard.press("/")
    search = page.get_by_role("searchbox")
    expect(search).to_be_focused()
    expect(search).to_have_value("")
    page.keyboard.type("senti/")
    expect(search).to_have_value("senti/")
    search.fill("senti")
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="acme/sentiment-vi-en")).to_be_visible()


def test_menu_opens_by_keyboard_and_escape_gives_the_focus_back(windows: Windows, world: World) -> None:
    page = windows.open(world.viewer)
    page.goto("/")
    summary = page.locator("summary", has_text="your menu")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
    expect(summary).to_be_focused()


def test_first_tab_leads_past_the_navigation(windows: Windows, world: World) -> None:
    page = windows.open(world.viewer)
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#content")).to_be_focused()


def test_console_watch_hears_a_violated_policy(windows: Windows, world: World) -> None:
    """The other tests rely on it: a script inside the page is refused, and the refusal is heard."""
    page = windows.open(world.viewer)
    page.goto("/")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'document.title = 1'}))"
    )
    assert page.title() == "Home · Assay"
    page.wait_for_timeout(100)
    assert any("Content Security Policy" in complaint for complaint in windows.complaints)
    windows.complaints.clear()


def test_every_page_has_one_heading_a_title_and_labels_and_fits(windows: Windows, story: Story) -> None:
    """All pages in one window, with every role in hand, so that every form is there."""
    world = story.world
    page = windows.open(make_member(world.team, *Role, username="everything"))
    # Something to roll back to, so that the channel's page has both of its forms.
    second = make_approval(world, make_revision(world.team, "d" * 40))
    move_channel(
        actor=world.release_manager, model=second.model, name="production", approval=second, reason="second",
    )  # fmt: skip
    found: dict[str, list[str]] = {}
    for name, address in story.addresses.items():
        page.goto(address)
        found[name] = structure(page) + sideways(page)
    stranger = windows.open()
    stranger.goto("/login/")
    found["sign in"] = structure(stranger) + sideways(stranger)
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_pages_of_an_empty_team_fit_and_are_whole(windows: Windows, world: World) -> None:
    page = windows.open(world.submitter)
    found: dict[str, list[str]] = {}
    for address in (
        "/",
        "/models/",
        "/reviews/",
        "/runs/",
        "/channels/",
        "/audit/",
        "/golden-sets/",
        "/tokens/",
        "/password/",
    ):
        page.goto(address)
        found[address] = structure(page) + sideways(page)
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_navigation_of_a_phone_reaches_every_section(windows: Windows, world: World) -> None:
    page = windows.open(world.viewer, width=PHONE)
    page.goto("/")
    for section in ("Models", "Reviews", "Runs", "Channels", "Audit"):
        page.get_by_role("navigation", name="Main").get_by_role("link", name=section).click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(section)
