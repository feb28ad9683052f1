"""What a card shows: bars, more of them, and the class activation map; and which model answered."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from PIL import Image, ImageChops
from playwright.sync_api import Page, expect

from tests.e2e.page.browsing import OpenPage, change_models
from tests.e2e.page.pictures import payload, pictures
from tests.support import CAT

pytestmark = pytest.mark.needs("chromium")

HEATMAP_ALPHA = """canvas => {
    const { data, width } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return Array.from({ length: canvas.height }, (_, y) =>
        Array.from({ length: width }, (_, x) => data[(y * width + x) * 4 + 3]));
}"""


def test_bars_are_as_long_as_their_percentages(answered: Page) -> None:
    for row in answered.locator(".predictions li").all():
        bar, fill = row.locator(".bar").bounding_box(), row.locator(".fill").bounding_box()
        assert bar is not None
        assert fill is not None
        percent = float(row.locator(".share").inner_text().strip("%"))
        assert fill["width"] / bar["width"] * 100 == pytest.approx(percent, abs=0.5)


def test_more_shows_ten_classes_and_fewer_three_again(answered: Page) -> None:
    rows = answered.locator(".predictions li")
    answered.get_by_role("button", name="Show more").click()
    expect(rows).to_have_count(10)
    answered.get_by_role("button", name="Show fewer").click()
    expect(rows).to_have_count(3)


def test_why_lays_the_map_over_the_part_that_the_network_saw(answered: Page) -> None:
    with answered.expect_response("**/explain?*") as response:
        answered.get_by_role("button", name="Why?").click()
    explanation = response.value.json()["explanation"]
    overlay = answered.locator(".overlay")
    expect(overlay).to_be_visible()

    frame, covered = answered.locator(".picture").bounding_box(), overlay.bounding_box()
    assert frame is not None
    assert covered is not None
    crop = explanation["crop"]
    assert covered["x"] - frame["x"] == pytest.approx(crop["left"] * frame["width"], abs=1)
    assert covered["y"] - frame["y"] == pytest.approx(crop["top"] * frame["height"], abs=1)
    assert covered["width"] == pytest.approx((crop["right"] - crop["left"]) * frame["width"], abs=1)
    assert covered["height"] == pytest.approx((crop["bottom"] - crop["top"]) * frame["height"], abs=1)


def test_the_map_is_opaque_where_it_is_strong_and_clear_where_it_is_weak(answered: Page) -> None:
    with answered.expect_response("**/explain?*") as response:
        answered.get_by_role("button", name="Why?").click()
    cells = response.value.json()["explanation"]["map"]
    expect(answered.locator(".overlay")).to_be_visible()
    alpha = answered.locator(".heatmap").evaluate(HEATMAP_ALPHA)
    cell_height, cell_width = len(alpha) / len(cells), len(alpha[0]) / len(cells[0])
    for row, values in enumerate(cells):
        for column, value in enumerate(values):
            painted = alpha[int((row + 0.5) * cell_height)][int((column + 0.5) * cell_width)]
            if value > 0.7:
                assert painted == 255, (row, column, value)
            if value < 0.1:
                assert painted < 10, (row, column, value)
    assert max(map(max, cells)) > 0.7


def test_the_slider_sets_the_strength_of_the_map_and_the_button_hides_it(answered: Page) -> None:
    answered.get_by_role("button", name="Why?").click()
    slider = answered.get_by_role("slider", name="Opacity of the map")
    slider.fill("30")
    expect(answered.locator(".heatmap")).to_have_css("opacity", "0.3")
    answered.get_by_role("button", name="Hide the map").click()
    expect(answered.locator(".overlay")).to_be_hidden()
    expect(slider).to_be_hidden()


def test_a_repeated_picture_is_answered_from_the_cache(answered: Page) -> None:
    answered.set_input_files("#file-input", CAT)
    expect(answered.locator("[data-phase=done]")).to_have_count(2)
    expect(answered.locator(".card").first.locator(".meta")).to_contain_text("cached")


def test_choosing_another_model_asks_it_about_every_picture(page: Page) -> None:
    page.set_input_files("#file-input", pictures(2))
    expect(page.locator("[data-phase=done]")).to_have_count(2)
    expect(page.locator(".meta").first).to_contain_text("efficientnet_lite0 (demonstration)")
    page.get_by_label("Model").select_option("resnet18")
    expect(page.locator(".meta")).to_have_text([re.compile(r"^resnet18 \(untrained\) · ")] * 2)


def test_the_banner_says_in_plain_words_what_kind_of_model_answers(page: Page) -> None:
    banner = page.get_by_role("note")
    expect(banner).to_contain_text("The demonstration model is answering.")
    expect(banner).to_contain_text(
        "resnet18 has no trained weights, so a small trained model, efficientnet_lite0, answers"
    )
    page.get_by_label("Model").select_option("resnet18")
    expect(banner).to_contain_text("These answers are random.")
    expect(banner).to_contain_text("resnet18 has no trained weights, so its answers mean nothing.")
    page.set_input_files("#file-input", CAT)
    expect(page.locator(".verdict")).to_have_text("A random guess")


def test_the_banner_speaks_of_no_model_that_is_not_served(open_page: OpenPage) -> None:
    page = open_page()

    def without_untrained(listed: dict[str, Any]) -> None:
        listed["models"] = [model for model in listed["models"] if model["weights"] != "untrained"]

    change_models(page, without_untrained)
    expect(page.get_by_role("note")).to_contain_text("efficientnet_lite0 is a small trained model")
    expect(page.get_by_role("note")).not_to_contain_text(re.compile("resnet", re.IGNORECASE))


def test_a_card_can_be_removed_and_all_can_be_cleared(page: Page) -> None:
    page.set_input_files("#file-input", pictures(3))
    page.get_by_role("button", name="Remove picture 1.png").click()
    expect(page.get_by_role("heading", level=3)).to_have_text(["picture 0.png", "picture 2.png"])
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".card")).to_have_count(0)
    expect(page.get_by_role("heading", name="Results")).to_be_hidden()


def test_another_class_has_its_own_map_and_the_colors_are_explained(answered: Page) -> None:
    answered.get_by_role("button", name="Why?").click()
    expect(answered.locator(".why-text")).to_contain_text("“Egyptian cat”")
    expect(answered.locator(".legend")).to_have_text("weakstrong")
    first = answered.locator(".heatmap").evaluate("canvas => canvas.toDataURL()")
    with answered.expect_request("**/explain?*class_id=282*"):
        answered.get_by_label("Map for").select_option("tiger cat")
    expect(answered.locator(".why-text")).to_contain_text("“tiger cat”")
    assert answered.locator(".heatmap").evaluate("canvas => canvas.toDataURL()") != first


def test_a_picture_is_saved_with_its_map(answered: Page) -> None:
    answered.get_by_role("button", name="Why?").click()
    with answered.expect_download() as download:
        answered.get_by_role("button", name="Save the picture with its map").click()
    assert download.value.suggested_filename == "cat-map.png"
    with Image.open(download.value.path()) as saved, Image.open(CAT) as cat:
        assert (saved.format, saved.size) == ("PNG", cat.size)
        changed = ImageChops.difference(saved.convert("RGB"), cat.convert("RGB")).getbbox()
    assert changed is not None


def animation(kind: str, frames: int) -> bytes:
    encoded = io.BytesIO()
    shown = [Image.new("RGB", (64, 48), (40 * index, 90, 200)) for index in range(frames)]
    shown[0].save(encoded, kind, save_all=frames > 1, append_images=shown[1:])
    return encoded.getvalue()


def test_of_an_animation_the_first_frame_is_said_to_be_recognized(page: Page) -> None:
    for kind in ("GIF", "PNG", "WEBP", "AVIF", "TIFF"):
        for frames in (1, 3):
            page.set_input_files("#file-input", payload(f"{frames}.{kind}", animation(kind, frames), ""))
            note = page.locator(".card").first.get_by_text(re.compile("only (its|the) first .* looked at"))
            page.locator(".card").first.and_(page.locator("[data-phase=done]")).wait_for()
            expect(note).to_have_count(int(frames > 1))
