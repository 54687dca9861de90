"""The pictures of the documentation come from a program; it must go on working."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Browser

from tests.browser.screenshots import take
from tests.browser.windows import Windows
from tests.factories import PASSWORD
from tests.pages.test_pages import Story


def test_review_is_photographed_wide_and_narrow_light_and_dark(
    chromium: Browser, windows: Windows, story: Story, tmp_path: Path
) -> None:
    made = take(
        chromium, web=windows.base_url, out=tmp_path, name="reviewer", password=PASSWORD, only=["review"]
    )
    names = ["review.png", "review-dark.png", "review-390.png", "review-390-dark.png"]
    assert [path.name for path in made] == names
    assert len({path.read_bytes() for path in made}) == 4
