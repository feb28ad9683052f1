"""The page of the running service in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.page.browsing import OpenPage
from tests.e2e.serving import Stack
from tests.support import CAT

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",  # containers and CI run as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # A camera that shows a test pattern, and nobody asked for leave.
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]
#: How an answer with a status of 400 or more is reported in the console, wanted or not.
FAILED_REQUEST = "Failed to load resource"
#: For a machine that is busy with other things too; what is expected comes much sooner.
TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture
def web_url(request: pytest.FixtureRequest) -> str:
    """The shared stack's, or a service that runs already, such as one of a worktree, in ``PAGE_URL``."""
    if address := os.environ.get("PAGE_URL"):
        return address.rstrip("/")
    stack: Stack = request.getfixturevalue("served")
    return stack.web


# Not for the whole session: Playwright keeps an event loop running, which tests of asyncio code must not meet.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Browser, web_url: str) -> Iterator[OpenPage]:
    """Opens pages; fails the test if a script of theirs fails or their Content-Security-Policy is violated."""
    complaints: list[str] = []
    contexts = []

    def open_page(
        *, width: int = 1280, height: int = 900, locale: str = "en-US", dark: bool = False, init_script: str = ""
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            locale=locale,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",  # screenshots and axe see the end of every transition
            permissions=["clipboard-read", "clipboard-write", "camera"],
        )
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        if init_script:
            context.add_init_script(init_script)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                complaints.append(message.text)
                if message.type in {"error", "warning"} and not message.text.startswith(FAILED_REQUEST)
                else None
            ),
        )
        page.goto(web_url)
        page.locator("#model option").first.wait_for(state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """The page in English on a desktop."""
    return open_page()


@pytest.fixture
def answered(page: Page) -> Page:
    """The page after it was shown the cat."""
    page.set_input_files("#file-input", CAT)
    page.locator("[data-phase=done]").wait_for()
    return page
