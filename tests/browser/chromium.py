"""Chromium without a screen, and a page in it that may not say a word of complaint."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Request, async_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT_MS = 15_000
_TELL_VIOLATIONS = "addEventListener('securitypolicyviolation', (e) => console.error(`CSP: ${e.violatedDirective}`));"


@dataclass
class View:
    """A page that is open, all that it complained of, and all that it asked for."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def listen(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("requestfailed", lambda request: self.complaints.append(f"{request.url}: {request.failure}"))
        self.page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning", "assert"):
            self.complaints.append(message.text)

    def _request(self, request: Request) -> None:
        self.requests.append(request.url)

    async def title_of(self, state: str) -> None:
        """Wait until the summary says so."""
        await self.page.locator("#verdict", has_text=state).wait_for()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A browser with a profile of its own, which goes with it."""
    program = shutil.which("chromium")
    if program is None:
        pytest.fail("chromium is not installed: run `make setup`")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def view(browser: Browser, url: str, *, width: int = 1280, height: int = 900, **how: Any) -> AsyncIterator[View]:
    """Open a status page in a window of its own, and wait until it shows the state; it must not complain."""
    context = await browser.new_context(viewport={"width": width, "height": height}, **how)
    try:
        context.set_default_timeout(WAIT_MS)
        page = await context.new_page()
        await page.add_init_script(_TELL_VIOLATIONS)
        opened = View(page=page)
        opened.listen()
        await page.goto(url)
        await page.locator("body[data-ready=yes]").wait_for()
        yield opened
        assert opened.complaints == []
    finally:
        await context.close()
