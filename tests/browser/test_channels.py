"""Going back: one form, one reason, and a history that keeps it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from registry.models import Channel
from registry.services.channels import move_channel
from tests.browser.windows import Windows
from tests.factories import make_approval, make_revision
from tests.pages.test_pages import Story

SHA = "d" * 40


@pytest.fixture
def story(story: Story) -> Story:
    """The story, and a second release on top of the first."""
    second = make_approval(story.world, make_revision(story.world.team, SHA))
    move_channel(
        actor=story.world.release_manager, model=second.model, name="production", approval=second,
        reason="second release",
    )  # fmt: skip
    return story


def test_admin_rolls_back_with_a_reason_and_sees_it_in_the_history(windows: Windows, story: Story) -> None:
    page = windows.open(story.world.admin)
    page.goto(story.addresses["channel"])
    expect(page.locator(".live-now")).to_contain_text(SHA[:7])
    panel = page.locator("#rollback")
    panel.get_by_role("button", name="Roll back").click()
    assert panel.get_by_label("Reason").evaluate("node => node.validity.valueMissing"), (
        "sent without a reason"
    )

    panel.get_by_label("Reason").fill("wrong labels in production")
    panel.get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("now points at aaaaaaa.")).to_be_visible()
    expect(page.locator(".live-now")).to_contain_text("aaaaaaa")
    history = page.locator(".events > li")
    expect(history).to_have_count(3)
    expect(history.first).to_contain_text("Rolled back")
    expect(history.first).to_contain_text("by admin")
    expect(history.first).to_contain_text("wrong labels in production")
    expect(history.nth(1)).to_contain_text("second release")
    current = Channel.objects.get(pk=story.move.channel_id).current
    assert current and current.revision == story.v1


def test_reviewer_sees_why_they_may_not_roll_back(windows: Windows, story: Story) -> None:
    page = windows.open(story.world.reviewer)
    page.goto(story.addresses["channel"])
    panel = page.locator("#rollback")
    expect(panel.get_by_role("button", name="Roll back")).to_be_disabled()
    expect(panel).to_contain_text("you need the role")
