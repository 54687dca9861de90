"""A model from a running Hub: found, described, submitted, checked, and then open for review."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from registry import jobs
from reviews.enums import ReviewStatus
from reviews.models import ReviewRequest
from tests.browser.windows import Windows
from tests.factories import World
from tests.registry.hubs import MODEL_ID, Hub

USE_CASE = "Sort customers' messages by mood, so that the unhappy ones are read first."


def find_model(page: Page, typed: str = MODEL_ID) -> None:
    page.goto("/reviews/new/")
    expect(page.get_by_label("Model id or Hub address")).to_be_focused()
    page.get_by_label("Model id or Hub address").press_sequentially(typed)


def test_model_is_found_submitted_checked_and_open_for_review(
    windows: Windows, world: World, hub: Hub
) -> None:
    page = windows.open(world.submitter)
    find_model(page)
    preview = page.locator("#preview")
    expect(preview.get_by_role("heading", name=f"Found {MODEL_ID}")).to_be_visible()
    expect(preview).to_contain_text(hub.first)
    expect(preview).to_contain_text("apache-2.0")
    expect(preview).to_contain_text("No obvious blocker")

    page.get_by_label("Use case").fill(USE_CASE)
    page.get_by_label("Staging").check()
    page.get_by_role("button", name="Submit for review").click()

    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Review of {MODEL_ID}")
    expect(page.get_by_text("is submitted. Its checks run now.")).to_be_visible()
    expect(page.get_by_text("The files are being downloaded and checked.")).to_be_visible()
    request = ReviewRequest.objects.get()
    assert (request.use_case, request.environment) == (USE_CASE, "staging")
    assert request.intake_job_id

    assert jobs.run(request.intake_job_id) == "succeeded"
    # The page asks every five seconds; nobody reloads it.
    expect(page.get_by_role("heading", name="Checklist")).to_be_visible()
    expect(page.locator("h1")).to_contain_text("In review")
    expect(page.locator("[data-item]")).to_have_count(48)
    expect(page.locator("h1 + .meta")).to_contain_text(hub.first[:7])
    expect(page.get_by_role("button", name="Approve")).to_be_disabled()
    request.refresh_from_db()
    assert request.status == ReviewStatus.IN_REVIEW


def test_form_waits_until_a_model_is_found(windows: Windows, world: World, hub: Hub) -> None:
    page = windows.open(world.submitter)
    find_model(page, "acme/no-such-model")
    expect(page.locator("#preview").get_by_role("alert")).to_contain_text("acme/no-such-model")
    expect(page.get_by_label("Use case")).to_be_hidden()
    page.get_by_label("Model id or Hub address").fill(f"{hub.url}/{MODEL_ID}")
    expect(page.locator("#preview")).to_contain_text(hub.first)
    expect(page.get_by_label("Use case")).to_be_visible()


def test_too_short_use_case_comes_back_with_everything_that_was_typed(
    windows: Windows, world: World, hub: Hub
) -> None:
    windows.expect_status(422)
    page = windows.open(world.submitter)
    find_model(page)
    page.get_by_label("Use case").fill("mood")
    page.get_by_label("Development").check()
    page.get_by_role("button", name="Submit for review").click()
    summary = page.get_by_role("alert")
    expect(summary).to_contain_text("Describe the use case in a sentence")
    expect(summary).to_be_focused()
    expect(page.get_by_label("Model id or Hub address")).to_have_value(MODEL_ID)
    expect(page.get_by_label("Use case")).to_have_value("mood")
    expect(page.get_by_label("Development")).to_be_checked()
    assert not ReviewRequest.objects.exists()


def test_form_is_whole_without_scripts(windows: Windows, world: World) -> None:
    page = windows.open(world.submitter, script=False)
    page.goto("/reviews/new/")
    expect(page.get_by_label("Use case")).to_be_visible()
    expect(page.get_by_role("button", name="Submit for review")).to_be_visible()


def test_leaving_with_unsaved_typing_asks_first(windows: Windows, world: World, hub: Hub) -> None:
    page = windows.open(world.submitter)
    find_model(page)
    expect(page.locator("#preview")).to_contain_text(hub.first)
    page.get_by_label("Use case").press_sequentially("Words")
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.accept()
