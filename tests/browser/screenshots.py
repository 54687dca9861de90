"""Photographs of a running Assay: `python -m tests.browser.screenshots --web URL --out DIR --role reviewer --password ...`.

Each main page at 1280 and 390 px, light and dark: `review.png`, `review-dark.png`, `review-390.png`, `review-390-dark.png`.
A page that this person cannot open, or of which there is none yet, is named on stderr and left out.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import launch

WIDTHS = {1280: 900, 390: 844}
# name -> the list it is found on, and what the address of one of its rows looks like
ROWS = {
    "model": ("/models/", r"/models/\d+/"),
    "revision": ("/models/", r"/models/\d+/ /revisions/\d+/"),
    "review": ("/reviews/", r"/reviews/\d+/"),
    "run": ("/runs/", r"/runs/\d+/"),
    "channel": ("/channels/", r"/channels/\d+/"),
}
PAGES = {
    "home": "/",
    "models": "/models/",
    "reviews": "/reviews/",
    "submit": "/reviews/new/",
    "runs": "/runs/",
    "channels": "/channels/",
    "audit": "/audit/",
    "golden-sets": "/golden-sets/",
    "tokens": "/tokens/",
    "password": "/password/",
}


def sign_in(page: Page, name: str, password: str) -> None:
    """Raises SystemExit when the name and the password do not fit."""
    page.goto("/login/")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()
    if "/login/" in page.url:
        raise SystemExit(f"{name} cannot sign in: {page.get_by_role('alert').inner_text()}")


def first_link(page: Page, pattern: str) -> str | None:
    for link in page.locator("main a[href]").all():
        address = link.get_attribute("href") or ""
        if re.fullmatch(pattern, address):
            return address
    return None


def found_pages(page: Page, wanted: list[str]) -> Iterator[tuple[str, str]]:
    """(name, address) of every wanted page that is there."""
    yield from ((name, address) for name, address in PAGES.items() if name in wanted)
    for name, (address, patterns) in ROWS.items():
        if name not in wanted:
            continue
        for pattern in patterns.split():
            page.goto(address)
            address = first_link(page, pattern) or ""
            if not address:
                break
        if address:
            yield name, address
        else:
            print(f"{name}: there is none yet", file=sys.stderr)


def photograph(page: Page, name: str, address: str, out: Path) -> list[Path]:
    """Four pictures of one page: what a person sees without scrolling at 1280 px, the whole page on a phone."""
    answer = page.goto(address)
    if answer is None or not answer.ok:
        print(f"{name}: not for this person ({answer.status if answer else 'no answer'})", file=sys.stderr)
        return []
    page.wait_for_load_state("networkidle" if name not in ("run", "review") else "load")
    made = []
    for width, height in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": height})
        for dark in (False, True):
            page.emulate_media(color_scheme="dark" if dark else "light")
            path = out / f"{name}{'' if width == 1280 else f'-{width}'}{'-dark' if dark else ''}.png"
            page.screenshot(path=path, full_page=width < 1280, animations="disabled")
            made.append(path)
    return made


def take(browser: Browser, *, web: str, out: Path, name: str, password: str, only: list[str]) -> list[Path]:
    page = browser.new_context(base_url=web.rstrip("/"), reduced_motion="reduce", locale="en-GB").new_page()
    sign_in(page, name, password)
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for shown, address in list(found_pages(page, only or [*PAGES, *ROWS])):
        made += photograph(page, shown, address, out)
    page.context.close()
    return made


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots", description=__doc__)
    parser.add_argument("--web", required=True, help="base address of the running web service")
    parser.add_argument("--out", required=True, type=Path, help="folder of the pictures")
    parser.add_argument(
        "--role", default="reviewer", help="user name; the demo's people are named by their role"
    )
    parser.add_argument("--password", default=os.environ.get("ASSAY_SCREENSHOT_PASSWORD", ""))
    parser.add_argument("--only", nargs="*", default=[], choices=[*PAGES, *ROWS], metavar="PAGE")
    asked = parser.parse_args()
    with sync_playwright() as playwright:
        browser = launch(playwright)
        made = take(
            browser, web=asked.web, out=asked.out, name=asked.role, password=asked.password, only=asked.only
        )
        browser.close()
    for path in made:
        print(path)
    return 0 if made else 1


if __name__ == "__main__":
    sys.exit(main())
