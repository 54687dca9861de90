"""axe-core on every main page, light and dark: nothing serious, nothing critical."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings
from django.urls import reverse
from playwright.sync_api import Page

from registry.enums import Role
from tests.browser.checks import sideways
from tests.browser.every_page import every_page
from tests.browser.windows import PHONE, Windows
from tests.factories import make_member
from tests.pages.test_pages import Story

GRAVE = ("serious", "critical")


def grave_findings(page: Page) -> list[str]:
    """Each finding as `rule: the element and what is wrong with it`; no finding, no line."""
    answer: dict[str, Any] = Axe().run(page).response
    assert answer["testEngine"]["name"] == "axe-core"
    return [
        f"{finding['id']}: {node['html'][:160]} {node['failureSummary'].splitlines()[-1].strip()}"
        for finding in answer["violations"]
        if finding["impact"] in GRAVE
        for node in finding["nodes"]
    ]


@pytest.fixture
def addresses(story: Story) -> dict[str, str]:
    return every_page(story)


def open_everything(page: Page) -> None:
    """What is folded away is looked at, too: changes, sections, logs, forms."""
    page.locator("main details").evaluate_all("all => all.forEach((node) => (node.open = true))")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_page_has_a_serious_finding(
    windows: Windows, addresses: dict[str, str], story: Story, dark: bool
) -> None:
    """With every role in hand, so that every form is there; the phone's frame is another one, so it is looked at, too."""
    page = windows.open(make_member(story.world.team, *Role, username="everything"), dark=dark)
    found = {}
    for name, address in addresses.items():
        page.goto(address)
        open_everything(page)
        found[name] = grave_findings(page)
    page.set_viewport_size({"width": PHONE, "height": 844})
    for name in ("home", "models", "review", "policies", "policy editor", "waivers", "code audit"):
        page.goto(addresses[name])
        found[f"{name} on a phone"] = grave_findings(page)
    stranger = windows.open(dark=dark)
    stranger.goto(reverse("login"))
    found["sign in"] = grave_findings(stranger)
    assert {name: findings for name, findings in found.items() if findings} == {}


@pytest.mark.parametrize("language", ["en", "vi"])
def test_no_page_scrolls_sideways_in_either_language(
    windows: Windows, addresses: dict[str, str], story: Story, language: str
) -> None:
    """Vietnamese words are longer; everything is unfolded, as somebody who reads all of it has it."""
    page = windows.open(make_member(story.world.team, *Role, username="everything"))
    page.context.add_cookies(
        [{"name": settings.LANGUAGE_COOKIE_NAME, "value": language, "url": windows.base_url}]
    )
    found = {}
    for name, address in addresses.items():
        page.goto(address)
        assert page.locator("html").get_attribute("lang") == language
        open_everything(page)
        found[name] = sideways(page)
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_a_fault_is_found(windows: Windows, story: Story) -> None:
    """The other tests rely on it: a picture without words and grey on grey are both named."""
    page = windows.open(story.world.viewer)
    page.goto("/")
    page.evaluate(
        "document.querySelector('main').insertAdjacentHTML("
        "'beforeend', '<img src=\"/static/img/mark.svg\"><input id=\"bare\">')"
    )
    found = " ".join(grave_findings(page))
    assert "image-alt" in found and "label" in found
