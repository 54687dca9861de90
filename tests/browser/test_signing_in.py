"""In and out through the front door."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.browser.windows import Windows
from tests.factories import PASSWORD, World


def type_in(page: Page, name: str, password: str) -> None:
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_stranger_signs_in_and_lands_where_they_wanted_to_go(windows: Windows, world: World) -> None:
    page = windows.open()
    page.goto("/channels/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    expect(page.get_by_text("Sign in to see that page.")).to_be_visible()
    type_in(page, "reviewer", PASSWORD)
    expect(page).to_have_url(f"{windows.base_url}/channels/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Channels")


def test_wrong_password_says_so_and_lets_nobody_in(windows: Windows, world: World) -> None:
    page = windows.open()
    page.goto("/login/")
    type_in(page, "reviewer", "not this one")
    expect(page.get_by_role("alert")).to_contain_text("Please enter a correct username and password")
    expect(page.get_by_label("Username")).to_have_value("reviewer")
    page.goto("/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_signed_in_person_sees_who_they_are_and_signs_out(windows: Windows, world: World) -> None:
    page = windows.open(world.reviewer)
    page.goto("/")
    page.locator("summary", has_text="your menu").click()
    expect(page.get_by_text("You are reviewer")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.goto("/models/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_form_of_another_session_is_refused_with_what_to_do(windows: Windows, world: World) -> None:
    windows.expect_status(403)
    page = windows.open()
    page.goto("/login/")
    page.context.clear_cookies()
    type_in(page, "reviewer", PASSWORD)
    expect(page.get_by_role("heading", level=1)).to_have_text("That form is no longer valid")
    expect(page.get_by_text("reload the page and send the form again")).to_be_visible()
