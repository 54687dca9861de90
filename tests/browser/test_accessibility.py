"""axe-core on every main page, light and dark: nothing serious, nothing critical."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse
from playwright.sync_api import Page

from registry.enums import Role
from registry.services.channels import move_channel
from tests.browser.windows import PHONE, Windows
from tests.factories import make_approval, make_member, make_revision
from tests.pages.test_pages import Story
from tests.reviews.code import code_revision

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
    """Every main page, each in the state with the most on it."""
    world = story.world
    second = make_approval(world, make_revision(world.team, "d" * 40))
    move_channel(
        actor=world.release_manager, model=second.model, name="production", approval=second, reason="second",
    )  # fmt: skip
    coded = code_revision(world, "e" * 40)
    return story.addresses | {
        "code audit": reverse("revision_code", args=[coded.pk]),
        "templates": reverse("template_list"),
        "template new": reverse("template_new"),
    }


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_page_has_a_serious_finding(
    windows: Windows, addresses: dict[str, str], story: Story, dark: bool
) -> None:
    """With every role in hand, so that every form is there; the phone's frame is another one, so it is looked at, too."""
    page = windows.open(make_member(story.world.team, *Role, username="everything"), dark=dark)
    found = {}
    for name, address in addresses.items():
        page.goto(address)
        found[name] = grave_findings(page)
    page.goto(addresses["review"])
    page.locator("[data-section]").evaluate_all("all => all.forEach((section) => (section.open = true))")
    found["review, every section open"] = grave_findings(page)
    page.set_viewport_size({"width": PHONE, "height": 844})
    for name in ("home", "models", "review"):
        page.goto(addresses[name])
        found[f"{name} on a phone"] = grave_findings(page)
    stranger = windows.open(dark=dark)
    stranger.goto(reverse("login"))
    found["sign in"] = grave_findings(stranger)
    assert {name: findings for name, findings in found.items() if findings} == {}


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
