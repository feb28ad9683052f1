"""The part of a picture that the network sees: shown, and moved to another part."""

from __future__ import annotations

import io

import pytest
from PIL import Image
from playwright.sync_api import FilePayload, Locator, Page, expect

from tests.e2e.page.browsing import OpenPage
from tests.e2e.page.pictures import payload, picture
from tests.e2e.page.test_page_access import violations
from tests.support import CAT

pytestmark = pytest.mark.needs("chromium")

SEEN_SHARE = 224 / 256


def cat_at_the_left() -> FilePayload:
    """Three times as wide as high, with the cat at its left end and nothing elsewhere."""
    wide = Image.new("RGB", (900, 300), (120, 160, 120))
    with Image.open(CAT) as cat:
        wide.paste(cat.crop((75, 0, 375, 300)), (0, 0))
    encoded = io.BytesIO()
    wide.save(encoded, "PNG")
    return payload("wide.png", encoded.getvalue())


def box(locator: Locator) -> tuple[float, float, float, float]:
    found = locator.bounding_box()
    assert found is not None
    return found["x"], found["y"], found["width"], found["height"]


def place(page: Page, selector: str) -> tuple[float, float, float, float]:
    """As ``box``, from the picture's corner: the picture itself may move."""
    (x, y, width, height), (left, top, _, _) = box(page.locator(selector)), box(page.locator(".picture"))
    return x - left, y - top, width, height


def show(page: Page, shown: FilePayload) -> None:
    page.set_input_files("#file-input", shown)
    page.locator(".card").first.and_(page.locator("[data-phase=done]")).wait_for()


def test_a_panorama_shows_at_once_that_only_its_middle_was_seen(page: Page) -> None:
    show(page, cat_at_the_left())
    expect(page.locator(".crop-note")).to_contain_text("The model saw only the middle.")
    x, y, width, height = box(page.locator(".seen"))
    left, top, whole_width, whole_height = box(page.locator(".picture"))
    assert height == pytest.approx(SEEN_SHARE * whole_height, abs=1)
    assert width == pytest.approx(height, abs=1)
    assert x + width / 2 == pytest.approx(left + whole_width / 2, abs=1)
    assert y + height / 2 == pytest.approx(top + whole_height / 2, abs=1)
    show(page, picture("ordinary.png", (9, 90, 200), (600, 400)))
    expect(page.locator(".card").first.locator(".seen")).to_be_hidden()


def test_another_part_is_asked_about_kept_and_explained_where_it_is(page: Page) -> None:
    show(page, cat_at_the_left())
    first = page.locator(".class-name").first
    expect(first).not_to_contain_text("cat")
    page.get_by_role("button", name="Choose another part").click()
    x, y, width, height = box(page.locator(".crop-frame"))
    page.mouse.move(x + width / 2, y + height / 2)
    page.mouse.down()
    page.mouse.move(x - 1000, y + height / 2, steps=4)  # further than it goes
    page.mouse.up()
    chosen = place(page, ".crop-frame")
    assert chosen[0] == pytest.approx(0, abs=1)
    page.get_by_role("button", name="Recognize this part").click()
    expect(first).to_contain_text("cat")
    expect(page.locator(".card")).to_be_focused()
    assert place(page, ".seen") == pytest.approx(chosen, abs=1)

    page.get_by_role("button", name="Why?").click()
    expect(page.locator(".overlay")).to_be_visible()
    assert place(page, ".overlay") == pytest.approx(chosen, abs=1.5)

    page.reload()
    expect(first).to_contain_text("cat")
    assert place(page, ".seen") == pytest.approx(chosen, abs=1)
    page.get_by_role("button", name="Choose another part").click()
    page.get_by_role("button", name="Reset").click()
    expect(page.locator(".crop-note")).to_contain_text("The model saw only the middle.")
    expect(first).not_to_contain_text("cat")


def test_the_frame_is_moved_and_resized_by_keys(answered: Page) -> None:
    answered.get_by_role("button", name="Crop").click()
    frame = answered.get_by_role("application", name="Frame around the part to recognize")
    expect(frame).to_be_focused()
    x, y, width, _ = box(frame)
    answered.keyboard.press("-")
    answered.keyboard.press("Shift+ArrowLeft")
    answered.keyboard.press("ArrowUp")
    moved = box(frame)
    assert moved[2] < width
    assert moved[0] < x
    assert moved[1] < y + (width - moved[2]) / 2
    expect(answered.get_by_role("slider", name="Size")).to_have_attribute("aria-valuetext", "84%")
    answered.keyboard.press("Escape")
    expect(frame).to_be_hidden()
    expect(answered.get_by_role("button", name="Crop")).to_be_focused()
    answered.keyboard.press("Enter")
    answered.get_by_role("slider", name="Size").fill("50")
    with answered.expect_request("**/classify?*"):
        frame.press("Enter")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_serious(open_page: OpenPage, dark: bool) -> None:
    page = open_page(dark=dark)
    page.set_input_files("#file-input", CAT)
    page.locator("[data-phase=done]").wait_for()
    page.get_by_role("button", name="Why?").click()
    page.locator(".overlay").wait_for()
    page.locator("#compared").select_option("resnet18")
    expect(page.locator(".column .verdict")).to_have_count(2)
    page.get_by_role("button", name="Crop").click()
    assert violations(page) == []


def test_corners_resize_the_frame_and_the_corner_across_stays(answered: Page) -> None:
    answered.get_by_role("button", name="Crop").click()
    frame = answered.locator(".crop-frame")
    x, y, width, height = box(frame)
    answered.mouse.move(x + width - 5, y + height - 5)
    answered.mouse.down()
    answered.mouse.move(x + width - 65, y + height - 65, steps=3)
    answered.mouse.up()
    assert box(frame) == pytest.approx((x, y, width - 60, height - 60), abs=1)


def test_a_part_is_chosen_before_anything_is_sent(open_page: OpenPage) -> None:
    page = open_page(width=390, height=664)
    page.get_by_label("Start automatically").uncheck()
    page.set_input_files("#file-input", cat_at_the_left())
    page.get_by_role("button", name="Choose another part").click()
    for _ in range(8):
        page.keyboard.press("Shift+ArrowLeft")
    page.get_by_role("button", name="Use this part").click()
    expect(page.locator(".card")).to_have_attribute("data-phase", "ready")
    page.get_by_role("button", name="Start recognizing (1)").click()
    page.locator("[data-phase=done]").wait_for()
    expect(page.locator(".crop-note")).to_contain_text("The model saw only the part in the frame.")
