"""The Chromium of this machine, driven through Playwright; no browser is downloaded."""

from __future__ import annotations

import os
import shutil

from playwright.sync_api import Browser, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


class ChromiumMissing(RuntimeError):
    """There is no browser to drive; the message has the cure."""


def executable() -> str:
    """`CHROMIUM` if it is set, else what the PATH knows. Raises ChromiumMissing."""
    wanted = os.environ.get("CHROMIUM")
    for name in (wanted,) if wanted else NAMES:
        found = shutil.which(name)
        if found:
            return found
    looked_for = (
        f"CHROMIUM={wanted} is not an executable" if wanted else f"none of {', '.join(NAMES)} is here"
    )
    raise ChromiumMissing(f"Chromium is missing ({looked_for}). Install it: apt-get install chromium")


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=executable(), args=ARGS)
