"""Browser windows that listen: whatever a page complains about in its console fails the test."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from django.conf import settings
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page

from registry.actors import Actor

DESKTOP, PHONE = 1280, 390
HEIGHT = 900
_STATUS = re.compile(r"^Failed to load resource: .*status of (\d{3})")


@dataclass
class Windows:
    """`open(actor)` is a window of a signed-in person with cookies of its own; `open()` is a stranger's.

    `complaints` are page errors and console errors, a violated Content-Security-Policy among them. A refusal that a
    test provokes is announced first: `expect_status(422)`.
    """

    browser: Browser
    base_url: str
    complaints: list[str] = field(default_factory=list)
    contexts: list[BrowserContext] = field(default_factory=list)
    expected: set[str] = field(default_factory=set)
    is_offline_meant: bool = False

    def open(
        self, actor: Actor | None = None, *, width: int = DESKTOP, dark: bool = False, script: bool = True
    ) -> Page:
        context = self.browser.new_context(
            base_url=self.base_url,
            viewport={"width": width, "height": HEIGHT},
            color_scheme="dark" if dark else "light",
            java_script_enabled=script,
            locale="en-GB",
        )
        context.set_default_timeout(10_000)
        self.contexts.append(context)
        if actor:
            client = Client()
            client.force_login(actor.user)
            session = client.cookies[settings.SESSION_COOKIE_NAME].value
            context.add_cookies(
                [{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": self.base_url}]
            )
        page = context.new_page()
        page.on("pageerror", self._on_error)
        page.on("console", self._on_console)
        return page

    def expect_status(self, *statuses: int) -> None:
        self.expected |= {str(status) for status in statuses}

    def _on_error(self, error: Error) -> None:
        self.complaints.append(f"page error: {error.message}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        status = _STATUS.match(message.text)
        if status and status.group(1) in self.expected:
            return
        if self.is_offline_meant and "ERR_INTERNET_DISCONNECTED" in message.text:
            return
        # htmx says every failed request a second time, in its own words.
        if (self.expected or self.is_offline_meant) and message.text.startswith(
            ("Response Status Error Code", "htmx:")
        ):
            return
        self.complaints.append(f"console: {message.text} ({message.location.get('url', '')})")

    def close(self) -> None:
        """Closing waits for the last messages, so that none is lost."""
        for context in self.contexts:
            context.close()
        self.contexts.clear()
