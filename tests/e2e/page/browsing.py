"""How a test opens the page, and knows what it has kept."""

from __future__ import annotations

from typing import Protocol

from playwright.sync_api import Page

from marserve.system.waiting import wait_until


class OpenPage(Protocol):
    def __call__(
        self, *, width: int = 1280, height: int = 900, locale: str = "en-US", dark: bool = False, init_script: str = ""
    ) -> Page:
        """Open the page as a visitor with this window and these preferences; ``init_script`` runs before its own."""


#: How many pictures the browser keeps, of all tabs.
COUNT_KEPT = """async () => {
    const opened = indexedDB.open("marserve", 1);
    await new Promise(resolve => opened.onsuccess = resolve);
    const counted = opened.result.transaction("files").objectStore("files").count();
    await new Promise(resolve => counted.onsuccess = resolve);
    opened.result.close();
    return counted.result;
}"""


def wait_until_kept(page: Page, count: int) -> None:
    """Return once so many pictures are on the disk."""
    assert wait_until(lambda: page.evaluate(COUNT_KEPT) == count, 20)
