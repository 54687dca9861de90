"""The whole way of one request, three people, each in a window of their own: nothing is done behind the pages' backs."""

from __future__ import annotations

from django.db import transaction
from playwright.sync_api import Page, expect

from registry import jobs
from registry.enums import OPEN_JOB_STATES, Role
from registry.models import Job
from reviews.models import ReviewRequest
from reviews.services.answering import save_answers
from tests.browser.test_submitting import USE_CASE, find_model
from tests.browser.windows import Windows
from tests.factories import World, an_answer, make_member
from tests.registry.hubs import MODEL_ID, Hub


def run_checks() -> ReviewRequest:
    request = ReviewRequest.objects.get()
    assert request.intake_job_id
    assert jobs.run(request.intake_job_id) == "succeeded"
    request.refresh_from_db()
    return request


def submit(page: Page) -> None:
    find_model(page)
    expect(page.locator("#preview")).to_contain_text("No obvious blocker")
    page.get_by_label("Use case").fill(USE_CASE)
    page.get_by_label("Staging").check()
    expect(page.locator("#tier")).to_contain_text("Low risk")
    page.get_by_label("Personal data").check()
    expect(page.locator("#tier")).to_contain_text("High risk")
    page.get_by_role("button", name="Submit for review").click()
    expect(page.get_by_role("heading", name="Checklist")).to_be_hidden()


def answer_the_rest(world: World, request: ReviewRequest) -> None:
    """Through the service, as a script of the reviewer would; and the measurements that intake asked for are called off."""
    for job in Job.objects.filter(state__in=OPEN_JOB_STATES):
        with transaction.atomic():
            jobs.cancel(actor=world.admin, job=job)
    given = set(request.answers.values_list("key", flat=True))
    rest = {item["key"]: an_answer(item) for item in request.checklist if item["key"] not in given}
    save_answers(actor=world.reviewer, request_pk=request.pk, answers=rest)


def vote(page: Page) -> None:
    """Whatever the record still asks for stands in the list; then the button."""
    expect(page.locator("#review-progress")).to_contain_text("48 of 48 answered")
    page.get_by_role("button", name="Approve").click()


def test_request_goes_back_with_a_list_and_is_approved_by_two(
    windows: Windows, world: World, hub: Hub
) -> None:
    theirs = windows.open(world.submitter)
    submit(theirs)
    request = run_checks()

    # Prefilled: what the card and the Hub say stands in the form with its source, and waits to be accepted.
    page = windows.open(world.reviewer)
    page.goto("/reviews/")
    page.get_by_role("link", name=MODEL_ID).click()
    expect(page.locator("#review-progress")).to_contain_text("0 of 48 answered")
    license_ = page.locator("#item-license")
    page.locator("[data-section]").filter(has=license_).locator("> summary").click()
    expect(license_.locator(".suggestion")).to_contain_text("apache-2.0")
    expect(license_.get_by_role("link", name="README.md line")).to_be_visible()
    license_.get_by_role("button", name="Accept").click()
    expect(license_.locator(".saved")).to_contain_text("suggestion accepted")

    # A list of two changes, then back to the submitter.
    for words in ("Say which data it was trained on.", "Name the version of the tokenizer."):
        item = page.locator("#item-license" if "trained" in words else "#item-model_id")
        if not item.is_visible():
            page.locator("[data-section]").filter(has=item).locator("> summary").click()
        item.locator("[data-comment] > summary").click()
        item.locator("[data-comment] textarea").fill(words)
        item.get_by_role("button", name="Ask for this change").click()
        expect(page.locator(".thread").filter(has_text=words)).to_be_visible()
    page.get_by_role("button", name="Request changes").click()
    expect(page.locator("h1")).to_contain_text("Changes requested")

    # The submitter reads the list and submits again; the checks run, and the second round starts.
    theirs.goto(f"/reviews/{request.pk}/")
    expect(theirs.locator("#content")).to_contain_text("Changes asked for: Model ID, License.")
    theirs.get_by_role("button", name="Submit again").click()
    expect(theirs.locator("h1")).not_to_contain_text("Changes requested")
    request = run_checks()
    theirs.goto(f"/reviews/{request.pk}/")
    expect(theirs.locator(".meta").first).to_contain_text("round 2")
    expect(theirs.get_by_role("button", name="Approve")).to_be_disabled()

    # The reviewer settles both and answers; two people vote, and the second vote decides.
    page.goto(f"/reviews/{request.pk}/")
    for key in ("model_id", "license"):
        item = page.locator(f"#item-{key}")
        if not item.is_visible():
            page.locator("[data-section]").filter(has=item).locator("> summary").click()
        item.get_by_role("button", name="Resolve").click()
        expect(item.locator(".thread")).to_contain_text("Change settled")
    answer_the_rest(world, request)
    page.goto(f"/reviews/{request.pk}/")
    vote(page)
    expect(page.get_by_text("1 of 2 votes").first).to_be_visible()
    second = windows.open(make_member(world.team, Role.REVIEWER, username="second"))
    second.goto(f"/reviews/{request.pk}/")
    vote(second)
    expect(second.locator("#outcome")).to_contain_text("Approved")
    request.refresh_from_db()
    assert (request.status, request.round) == ("approved", 2)
    assert request.approval is not None and request.approval.revision == request.revision
