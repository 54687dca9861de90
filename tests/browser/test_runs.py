"""A run's page follows the run by itself, and stops asking when there is nothing more to hear."""

from __future__ import annotations

from playwright.sync_api import Page, Request, expect

from registry import jobs
from registry.enums import JobKind, JobState
from registry.models import Job
from tests.browser.windows import Windows
from tests.factories import World, make_model
from tests.registry.hubs import MODEL_ID, Hub

POLL_MS = 2000


def make_intake(world: World) -> Job:
    params = {"model": make_model(world.team).pk, "requested_revision": "main"}
    return jobs.enqueue(
        actor=world.submitter, team=world.team, kind=JobKind.INTAKE, subject="intake", title=f"Intake of {MODEL_ID}",
        params=params,
    )[0]  # fmt: skip


def polls_of(page: Page) -> list[str]:
    found: list[str] = []

    def note(request: Request) -> None:
        if request.headers.get("hx-request") == "true":
            found.append(request.url)

    page.on("request", note)
    return found


def test_page_follows_the_run_and_stops_when_it_is_done(windows: Windows, world: World, hub: Hub) -> None:
    job = make_intake(world)
    page = windows.open(world.viewer)
    polls = polls_of(page)
    page.goto(f"/runs/{job.pk}/")
    expect(page.locator("#run-live")).to_contain_text("Waiting for a worker")
    assert jobs.run(job.pk) == "succeeded"
    expect(page.locator("#run-live .status")).to_have_text("Succeeded")
    expect(page.locator(".step-name")).to_have_text(["resolve", "download", "inspect", "trace", "record"])
    expect(page.locator(".headline")).to_contain_text("Every file was downloaded, re-hashed and recorded.")
    expect(page.locator("#live")).to_have_text(f"{job.title}: Succeeded")
    asked = len(polls)
    assert asked >= 1
    page.wait_for_timeout(POLL_MS + 700)
    assert len(polls) == asked


def test_failed_run_says_why(windows: Windows, world: World, hub: Hub) -> None:
    hub.lie(status=500)
    job = make_intake(world)
    jobs.run(job.pk)
    job.refresh_from_db()
    page = windows.open(world.viewer)
    page.goto(f"/runs/{job.pk}/")
    expect(page.locator("#run-error")).to_have_text(job.error)
    expect(page.locator("#run-live .status")).to_have_text("Failed")


def test_submitter_cancels_a_waiting_run(windows: Windows, world: World, hub: Hub) -> None:
    job = make_intake(world)
    page = windows.open(world.submitter)
    page.goto(f"/runs/{job.pk}/")
    page.get_by_role("button", name="Cancel this run").click()
    expect(page.get_by_text("is cancelled.")).to_be_visible()
    expect(page.locator("#run-live .status")).to_have_text("Cancelled")
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
