"""For everybody: keyboard, screen reader, phone and desktop, light and dark."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Route, expect

from tests.e2e.page.browsing import OpenPage
from tests.e2e.page.pictures import payload
from tests.support import CAT

pytestmark = pytest.mark.needs("chromium")

#: WCAG's narrowest; a phone; a desktop, half of which is what zooming to 200 % leaves of it.
SMALLEST, PHONE, DESKTOP = 320, 390, 1280
LONG_NAME = "a-very-long-name-" * 12 + ".jpg"


def show_everything(page: Page) -> None:
    """An answer with its map and all of its classes, and a failure that can be tried again."""
    page.route("**/classify?*", lambda route: route.fulfill(status=502, json={"type": "InferenceFailed"}), times=1)
    page.set_input_files("#file-input", payload("busy.jpg", CAT.read_bytes()))
    page.locator("[data-phase=failed]").wait_for()
    page.set_input_files("#file-input", payload(LONG_NAME, CAT.read_bytes()))
    page.locator("[data-phase=done] .why-button").click()
    page.locator(".overlay").wait_for()
    page.locator("[data-phase=done] .actions button").first.click()


def violations(page: Page) -> list[str]:
    """What axe finds serious or critical, as readable lines."""
    found = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in found
        if violation["impact"] in {"serious", "critical"}
        for node in violation["nodes"]
    ]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_axe_finds_nothing_serious(open_page: OpenPage, locale: str, dark: bool) -> None:
    page = open_page(locale=locale, dark=dark)
    assert violations(page) == []
    held: list[Route] = []
    page.route("**/classify?*", lambda route: held.append(route), times=1)
    page.set_input_files("#file-input", payload("held.jpg", CAT.read_bytes()))
    page.locator("[data-phase=recognizing], [data-phase=uploading]").wait_for()
    assert violations(page) == []
    held[0].continue_()
    page.locator("[data-phase=done]").wait_for()
    page.get_by_role("button", name=re.compile("Clear all|全部清除")).click()
    show_everything(page)
    assert violations(page) == []
    page.get_by_role("radio", name=re.compile("Table|表格")).check()
    page.locator("#rows .opener").first.click()
    page.locator("#export-menu summary").click()
    assert violations(page) == []
    page.locator("#camera").click()
    page.locator("#camera-shutter:enabled").wait_for()
    assert violations(page) == []
    page.get_by_role("switch").check()
    page.locator("#live-answer .class-name").first.wait_for()
    assert violations(page) == []


PAPER = {"light": "rgb(246, 245, 242)", "dark": "rgb(20, 21, 23)"}


@pytest.mark.parametrize(("own", "other"), [("light", "dark"), ("dark", "light")])
def test_light_and_dark_can_be_chosen_and_are_remembered(open_page: OpenPage, own: str, other: str) -> None:
    page = open_page(dark=own == "dark")
    root = page.locator("html")
    switch = page.get_by_role("button", name="Colors:")
    expect(root).to_have_css("background-color", PAPER[own])
    switch.click()
    expect(switch).to_have_accessible_name(f"Colors: {other}")
    expect(root).to_have_css("background-color", PAPER[other])
    page.reload()
    expect(switch).to_have_accessible_name(f"Colors: {other}")
    expect(root).to_have_css("background-color", PAPER[other])
    switch.click()
    expect(switch).to_have_accessible_name(f"Colors: {own}")
    expect(root).to_have_css("background-color", PAPER[own])
    switch.click()
    expect(switch).to_have_accessible_name("Colors: as the system")
    page.emulate_media(color_scheme="light" if other == "light" else "dark")
    expect(root).to_have_css("background-color", PAPER[other])


def tab_to(page: Page, name: str, key: str = "Tab") -> None:
    """Press Tab, or Shift+Tab as ``key``, until the control of this name has the focus."""
    target = page.get_by_role("button", name=name).or_(page.get_by_role("slider", name=name))
    for _ in range(30):
        page.keyboard.press(key)
        if target.evaluate_all("nodes => nodes.includes(document.activeElement)"):
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"{name} does not show that it has the focus"
            return
    pytest.fail(f"Tab does not reach {name!r}")


def test_everything_can_be_done_with_the_keyboard(page: Page) -> None:
    tab_to(page, "A tiger in the snow")
    page.keyboard.press("Enter")
    page.locator("[data-phase=done]").wait_for()
    expect(page.get_by_role("article", name="tiger.jpg")).to_be_focused()
    tab_to(page, "Show more")
    page.keyboard.press("Space")
    expect(page.locator(".predictions li")).to_have_count(10)
    tab_to(page, "Why?")
    page.keyboard.press("Enter")
    page.locator(".overlay").wait_for()
    tab_to(page, "Opacity of the map")
    page.keyboard.press("Home")
    expect(page.locator(".heatmap")).to_have_css("opacity", "0")
    tab_to(page, "Remove tiger.jpg", key="Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".card")).to_have_count(0)
    expect(page.get_by_role("button", name="Choose pictures")).to_be_focused()


def test_a_picture_is_enlarged_and_the_focus_returns(answered: Page) -> None:
    card = answered.get_by_role("article")
    button = card.get_by_role("button", name="Enlarge cat.jpg")
    dialog = answered.get_by_role("dialog", name="cat.jpg")
    button.focus()
    answered.keyboard.press("Enter")
    expect(dialog.get_by_role("img")).to_be_visible()
    assert violations(answered) == []
    answered.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    card.get_by_role("img", name="cat.jpg").click()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    card.get_by_role("img", name="cat.jpg").click()
    answered.mouse.click(5, 5)
    expect(dialog).to_be_hidden()


def test_the_confidence_is_named_and_explained(open_page: OpenPage) -> None:
    page = open_page()
    page.set_input_files("#file-input", CAT)
    button = page.get_by_role("button", name="Confidence", exact=True)
    expect(button).to_have_attribute("aria-expanded", "false")
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    expect(page.locator(".explanation")).to_contain_text("among all 1,000 it knows")
    page.get_by_role("button", name="中文").click()
    page.get_by_role("button", name="置信度", exact=True).click()
    expect(page.locator(".explanation")).to_contain_text("全部 1,000 个类别")


def test_the_language_of_the_log_is_the_pages(answered: Page) -> None:
    log = answered.get_by_role("log")
    expect(log).to_contain_text("cat.jpg")
    answered.get_by_role("button", name="中文").click()
    expect(log).to_be_empty()


def test_the_focus_is_never_lost(page: Page) -> None:
    """What held it is gone: the focus is on what took its place, never on nothing."""

    def focused() -> str:
        return str(page.evaluate("document.activeElement.id || document.activeElement.className"))

    tab_to(page, "A tiger in the snow")
    page.keyboard.press("Enter")
    page.locator("[data-phase=done]").wait_for()
    assert "card" in focused()
    page.set_input_files("#file-input", [payload("a.jpg", CAT.read_bytes()), payload("b.jpg", CAT.read_bytes())])
    expect(page.locator("[data-phase=done]")).to_have_count(3)
    for left in (2, 1):
        page.get_by_role("button", name="Remove").first.focus()
        page.keyboard.press("Enter")
        expect(page.locator(".card")).to_have_count(left)
        assert "card" in focused()
    page.get_by_role("button", name="Clear all").focus()
    page.keyboard.press("Enter")
    assert focused() == "choose"
    page.get_by_role("button", name="Take a photo").focus()
    page.keyboard.press("Enter")
    page.locator("#camera-shutter:enabled").wait_for()
    page.keyboard.press("Escape")
    assert focused() == "camera"


def test_trying_again_keeps_the_keyboards_place(page: Page) -> None:
    page.route("**/classify?*", lambda route: route.fulfill(status=502, json={"type": "InferenceFailed"}), times=1)
    page.set_input_files("#file-input", CAT)
    page.get_by_role("button", name="Try again").focus()
    page.keyboard.press("Enter")
    page.locator("[data-phase=done]").wait_for()
    expect(page.get_by_role("article")).to_be_focused()


def test_answers_and_failures_are_announced(page: Page) -> None:
    page.set_input_files("#file-input", CAT)
    label = page.locator(".class-name").first.inner_text()
    log = page.get_by_role("log")
    expect(log).to_contain_text(f"cat.jpg: {label}, confidence {page.locator('.share').first.inner_text()}")
    page.set_input_files("#file-input", payload("notes.txt", b"text", "text/plain"))
    expect(log).to_contain_text("notes.txt: This file format is not supported.")


@pytest.mark.parametrize("width", [SMALLEST, PHONE, DESKTOP // 2, DESKTOP])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_nothing_is_cut_off_from_phone_to_desktop(open_page: OpenPage, tmp_path: Path, width: int, locale: str) -> None:
    page = open_page(width=width, height=844, locale=locale)
    page.screenshot(path=tmp_path / "empty.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    show_everything(page)
    page.screenshot(path=tmp_path / "results.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for button in page.get_by_role("button").all():
        assert button.evaluate("node => node.scrollWidth <= node.clientWidth + 1"), button.inner_text()


SMALL_TARGETS = """nodes => nodes
    .filter(node => node.checkVisibility() && node.closest("p:has(a)") === null && !node.closest(".for-screen-readers"))
    .map(node => [node.outerHTML.slice(0, 120), (node.closest("label") ?? node).getBoundingClientRect()])
    .filter(([, box]) => box.width < 24 || box.height < 24)
    .map(([html, box]) => `${Math.round(box.width)} x ${Math.round(box.height)}: ${html}`)"""


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
def test_targets_are_large_enough(open_page: OpenPage, width: int) -> None:
    page = open_page(width=width)
    targets = page.locator("button, select, summary, input, a")
    assert targets.evaluate_all(SMALL_TARGETS) == []
    show_everything(page)
    assert targets.evaluate_all(SMALL_TARGETS) == []


def test_forced_colors_leave_bars_and_choices_visible(open_page: OpenPage) -> None:
    """axe does not know which colors are forced."""
    page = open_page()
    page.emulate_media(forced_colors="active")
    show_everything(page)
    background = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    for fill in page.locator(".fill").all():
        expect(fill).not_to_have_css("background-color", background)
    expect(page.get_by_role("button", name="English")).to_have_css("border-top-width", "2px")


def test_the_page_asks_nobody_but_its_own_service(open_page: OpenPage, web_url: str) -> None:
    page = open_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    show_everything(page)
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith("blob:")}
    assert hosts == {urlsplit(web_url).netloc}
