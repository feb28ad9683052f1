"""How a test opens the page, has it told what is served, and knows what it has kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

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


def change_models(page: Page, change: Callable[[dict[str, Any]], object]) -> None:
    """Load the page again, and let it see what ``change`` makes of the list of models.

    The page asks for the list now and then, also while a test ends: the answer is there already, so that nothing is
    being fetched for a page that is gone.
    """
    listed = page.request.get(f"{page.url.split('?')[0].rstrip('/')}/models").json()
    change(listed)
    page.route("**/models", lambda route: route.fulfill(json=listed))
    page.reload()
    page.locator("#model option").first.wait_for(state="attached")
