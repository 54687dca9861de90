"""A security auditor at work: by keyboard, without JavaScript, on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from registry.models import Revision
from reviews.code_audits.judging import inherit
from tests.browser.checks import sideways, structure
from tests.browser.windows import PHONE, Windows
from tests.factories import SHA_B, World, audit_code, make_review
from tests.reviews.code import HELPER_2, code_revision


@pytest.fixture
def changed(world: World) -> Revision:
    """The second commit: one helper file is other than what was audited."""
    audit_code(world, code_revision(world, keys=["config.json:auto_map.AutoModel=modeling_x.Model"]))
    bidi = HELPER_2 + "\n# \u202e check \u2066 admin\nשלום = 1\n".encode()
    second = code_revision(
        world, SHA_B, helper__py=bidi, keys=["config.json:auto_map.AutoModel=modeling_x.Model"]
    )
    inherit(second.pk)
    make_review(world, second)
    return second


def test_auditor_judges_by_keyboard(windows: Windows, world: World, changed: Revision) -> None:
    page = windows.open(world.security_auditor)
    page.goto("/")
    page.get_by_role("link", name="The code of").first.click()
    expect(page.get_by_role("heading", name="helper.py")).to_be_visible()
    expect(page.locator("ol.diff .added").first).to_contain_text("return x * 2")
    assert structure(page) == []
    page.keyboard.press("n")
    expect(page.locator("#L3")).to_be_visible()
    page.keyboard.press("j")
    expect(page.get_by_role("heading", name="modeling_x.py")).to_be_visible()
    page.keyboard.press("k")
    expect(page.get_by_role("heading", name="helper.py")).to_be_visible()
    page.keyboard.press("f")
    page.keyboard.type("Doubles the result, as the card says")
    page.keyboard.press("Escape")
    page.keyboard.press("p")
    expect(page.get_by_role("button", name="Passed")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#headline")).to_contain_text("Every file passed.")
    changed.refresh_from_db()
    assert changed.code_audit == "passed"


def test_page_fits_a_phone_and_works_without_scripts(
    windows: Windows, world: World, changed: Revision
) -> None:
    page = windows.open(world.security_auditor)
    page.goto(f"/revisions/{changed.pk}/code/")
    assert sideways(page) == []
    plain = windows.open(world.security_auditor, width=PHONE, script=False)
    plain.goto(f"/revisions/{changed.pk}/code/")
    plain.locator("#verdict").get_by_label("Reason").fill("It opens the network")
    plain.get_by_role("button", name="Failed").press("Enter")
    expect(plain.locator("#headline")).to_contain_text("A file failed")
