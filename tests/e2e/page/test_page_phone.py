"""On a phone, upright and on its side: the answer is in sight as soon as it is there."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

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
    card = page.locator("[data-phase=done], [data-phase=failed]")
    card.wait_for()
    assert card.get_attribute("data-phase") == "done", card.inner_text()
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


def hold_answers(page: Page) -> list[Route]:
    """Keep requests to classify waiting; the caller lets each go on."""
    held: list[Route] = []
    page.route("**/classify?*", lambda route: held.append(route))
    return held


def test_nothing_moves_when_the_preview_comes(open_page: OpenPage) -> None:
    page = open_page(width=UPRIGHT[0], height=UPRIGHT[1])
    held = hold_answers(page)
    page.set_input_files("#file-input", picture("tall.png", (200, 90, 40), SHAPES["pillar"]))
    body = page.locator(".card .body")
    before = body.bounding_box()
    expect(page.locator(".stage")).to_have_attribute("style", re.compile("--ratio: 0.1"))
    assert body.bounding_box() == before
    held[0].continue_()
    page.locator("[data-phase=done]").wait_for()
    after = body.bounding_box()
    assert before
    assert after
    assert after["y"] == before["y"]


def test_who_looks_elsewhere_is_left_there(open_page: OpenPage) -> None:
    page = open_page(width=UPRIGHT[0], height=UPRIGHT[1])
    held = hold_answers(page)
    page.set_input_files("#file-input", picture("red.png", (200, 20, 40)))
    expect(page.locator(".card")).to_have_count(1)
    page.mouse.move(200, 300)
    page.mouse.wheel(0, -2000)
    expect(page.locator("header.top")).to_be_in_viewport(ratio=1)
    held[0].continue_()
    page.locator("[data-phase=done]").wait_for()
    page.wait_for_timeout(300)
    assert page.evaluate("scrollY") == 0


@pytest.mark.parametrize("size", [UPRIGHT, SIDEWAYS], ids=["upright", "sideways"])
def test_with_results_what_stands_above_is_slim(open_page: OpenPage, size: tuple[int, int]) -> None:
    page = open_page(width=size[0], height=size[1])
    expect(page.locator("#banner")).to_be_visible()
    show(page, "landscape")
    expect(page.locator("#banner-text")).to_be_hidden()
    assert page.evaluate("document.getElementById('results').getBoundingClientRect().top + scrollY") < 220
    page.locator("#banner summary").click()
    expect(page.locator("#banner-text")).to_be_visible()
    for control in ("choose", "camera", "model", "theme"):
        assert page.locator(f"#{control}").is_visible()
