"""Two models side by side."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.page.browsing import OpenPage
from tests.e2e.page.pictures import pictures
from tests.support import CAT

pytestmark = pytest.mark.needs("chromium")

COMPARE = "Compare with"
SECOND = "**/classify?*model=resnet18*"


def test_a_second_model_answers_beside_the_first(page: Page) -> None:
    page.set_input_files("#file-input", pictures(2))
    expect(page.locator("[data-phase=done]")).to_have_count(2)
    page.get_by_label(COMPARE).select_option("resnet18")
    for card in page.locator(".card").all():
        expect(card.locator(".column h4")).to_have_text(
            [re.compile("^efficientnet_lite0"), re.compile("^resnet18")], use_inner_text=True
        )
        expect(card.locator(".column .verdict").last).to_have_text("A random guess")
        expect(card.locator(".agreement")).to_be_hidden()  # with random labels
    expect(page.locator("#overview")).to_have_text("2 recognized")

    page.reload()
    expect(page.locator(".column h4")).to_have_count(4)
    expect(page.get_by_label(COMPARE)).to_have_value("resnet18")
    page.get_by_role("button", name="Stop comparing").click()
    expect(page.locator(".column")).to_have_count(0)
    expect(page.get_by_label(COMPARE)).to_be_focused()
    page.reload()
    expect(page.locator("[data-phase=done]")).to_have_count(2)
    expect(page.get_by_label(COMPARE)).to_have_value("")


def test_who_chooses_the_second_model_as_the_first_sees_both(answered: Page) -> None:
    answered.get_by_label(COMPARE).select_option("resnet18")
    expect(answered.locator(".column .verdict")).to_have_count(2)
    answered.locator("#model").select_option("resnet18")
    expect(answered.locator(".column h4")).to_have_text(
        [re.compile("^resnet18"), re.compile("^efficientnet_lite0")], use_inner_text=True
    )


def test_a_second_model_that_fails_costs_the_first_answer_nothing(answered: Page) -> None:
    def fail(route: Route) -> None:
        route.fulfill(status=500, json={"type": "InferenceFailed"})

    answered.route(SECOND, fail)
    answered.get_by_label(COMPARE).select_option("resnet18")
    second = answered.locator(".column").last
    expect(second).to_contain_text("The service failed. Try again.")
    expect(answered.locator("#overview")).to_have_text("1 recognized")
    answered.unroute(SECOND)
    second.get_by_role("button", name="Try again").click()
    expect(second.locator(".verdict")).to_have_text("A random guess")


@pytest.mark.parametrize(
    ("wnid", "label", "says"),
    [("n02124075", "Egyptian cat", "Both models say the same."), ("n02119022", "red fox", "The models disagree.")],
)
def test_whether_both_agree_is_said(answered: Page, wnid: str, label: str, says: str) -> None:
    predictions = [{"class_id": 0, "wnid": wnid, "label": label, "probability": 0.9}]
    answer = {"model": "resnet18", "version": "1.0", "weights": "trained", "cache": "miss", "time_ms": 1.0}
    answered.route(SECOND, lambda route: route.fulfill(json={**answer, "predictions": predictions}))
    answered.get_by_label(COMPARE).select_option("resnet18")
    expect(answered.locator(".agreement")).to_have_text(says)


@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_columns_stand_below_each_other_on_a_phone(open_page: OpenPage, locale: str) -> None:
    page = open_page(width=390, height=664, locale=locale)
    page.set_input_files("#file-input", CAT)
    page.locator("[data-phase=done]").wait_for()
    page.locator("#compared").select_option("resnet18")
    expect(page.locator(".column .verdict")).to_have_count(2)
    first, second = (column.bounding_box() for column in page.locator(".column").all())
    assert first
    assert second
    assert first["y"] + first["height"] <= second["y"]
    assert page.evaluate("document.documentElement.scrollWidth") == 390
