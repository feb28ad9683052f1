"""On a phone, upright and on its side: the answer is in sight as soon as it is there."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.e2e.page.browsing import OpenPage
from tests.e2e.page.pictures import picture

pytestmark = pytest.mark.needs("chromium")

#: What a phone's browser leaves of the screen, upright and on its side.
UPRIGHT, SIDEWAYS = (390, 664), (844, 390)
SHAPES = {"portrait": (900, 1200), "landscape": (1200, 900), "panorama": (2000, 200), "pillar": (200, 2000)}


def is_in_sight(locator: Locator) -> bool:
    """Whether all of it is inside the window, without scrolling."""
    box = locator.bounding_box()
    window = locator.page.viewport_size
    assert box
    assert window
    return box["y"] >= 0 and box["y"] + box["height"] <= window["height"] and box["x"] + box["width"] <= window["width"]


def show(page: Page, shape: str) -> None:
    page.set_input_files("#file-input", picture(f"{shape}.png", (200, 90, 40), SHAPES[shape]))
    page.locator("[data-phase=done]").wait_for()
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [UPRIGHT, SIDEWAYS], ids=["upright", "sideways"])
@pytest.mark.parametrize(("locale", "dark"), [("en-US", False), ("zh-CN", True)], ids=["en-light", "zh-dark"])
def test_label_and_confidence_are_in_sight(
    open_page: OpenPage, shape: str, size: tuple[int, int], locale: str, dark: bool
) -> None:
    page = open_page(width=size[0], height=size[1], locale=locale, dark=dark)
    show(page, shape)
    rows = page.locator(".predictions li")
    expect(rows).to_have_count(3)
    for row in rows.all():
        assert is_in_sight(row.locator(".class-name"))
        assert is_in_sight(row.locator(".share"))
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
