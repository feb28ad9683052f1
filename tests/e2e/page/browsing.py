"""How a test opens the page."""

from __future__ import annotations

from typing import Protocol

from playwright.sync_api import Page


class OpenPage(Protocol):
    def __call__(
        self, *, width: int = 1280, height: int = 900, locale: str = "en-US", dark: bool = False, init_script: str = ""
    ) -> Page:
        """Open the page as a visitor with this window and these preferences; ``init_script`` runs before its own."""
