"""A token is seen once, copied, and never again."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.windows import Windows
from tests.factories import World


def test_token_is_shown_once_and_copied(windows: Windows, world: World) -> None:
    page = windows.open(world.viewer)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/tokens/")
    page.get_by_label("Name").fill("nightly batch")
    page.get_by_label("Read models, approvals").check()
    page.get_by_role("button", name="Make a token").click()
    shown = page.locator("#new-token")
    expect(shown).to_contain_text("assay_")
    text = shown.inner_text()
    page.get_by_role("button", name="Copy the token").click()
    expect(page.locator("#live")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == text

    page.goto("/tokens/")
    expect(page.get_by_role("row", name="nightly batch")).to_be_visible()
    assert "assay_" not in page.content()


def test_token_is_revoked(windows: Windows, world: World) -> None:
    page = windows.open(world.viewer)
    page.goto("/tokens/")
    page.get_by_label("Name").fill("nightly batch")
    page.get_by_label("Call the inference endpoint").check()
    page.get_by_role("button", name="Make a token").click()
    page.get_by_role("button", name="Revoke nightly batch").click()
    expect(page.get_by_text("The token nightly batch does not work any more.")).to_be_visible()
    expect(page.get_by_role("row", name="nightly batch")).to_contain_text("revoked")


def test_token_that_may_do_nothing_is_not_made(windows: Windows, world: World) -> None:
    windows.expect_status(422)
    page = windows.open(world.viewer)
    page.goto("/tokens/")
    page.get_by_label("Name").fill("nothing")
    page.get_by_role("button", name="Make a token").click()
    expect(page.get_by_role("alert")).to_contain_text("Tick at least one thing that it may do.")
    expect(page.get_by_label("Name")).to_have_value("nothing")
