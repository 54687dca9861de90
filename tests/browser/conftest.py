"""One Chromium for this folder, one set of windows per test, and a world to look at."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, expect, sync_playwright
from pytest_django.live_server_helper import LiveServer

from tests.browser.chromium import ChromiumMissing, executable, launch

if TYPE_CHECKING:  # models can be imported under settings only
    from tests.browser.windows import Windows
    from tests.factories import World
    from tests.pages.test_pages import Story

HERE = Path(__file__).parent
# On a busy machine a page takes its time; no assertion waits longer than it must.
expect.set_options(timeout=10_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)
            # One worker: two Chromiums on two cores would only wait for each other.
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Lives as long as this folder's tests run: Playwright's event loop stays on this thread meanwhile.

    Django sees that loop and refuses the ORM; here nothing is asynchronous, so it is told so, and only here.
    """
    try:
        executable()
    except ChromiumMissing as missing:
        pytest.fail(str(missing), pytrace=False)  # a skipped browser test would look like a passed one
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def windows(chromium: Browser, live_server: LiveServer) -> Iterator[Windows]:
    from tests.browser.windows import Windows

    windows = Windows(chromium, live_server.url)
    yield windows
    windows.close()
    assert windows.complaints == [], "The browser complained; see tests/browser/windows.py"


@pytest.fixture
def story(windows: Windows, world: World) -> Story:
    """v1 live, v2 in review and measured: the world of the page tests."""
    from tests.pages.test_pages import Story

    return Story(world)
