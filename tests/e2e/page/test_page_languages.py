"""Both languages: which one is spoken, that it is remembered, and that no word is missing in either."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.page.browsing import OpenPage
from tests.support import CAT, REPOSITORY

pytestmark = pytest.mark.needs("chromium")

CHINESE_LABELS = json.loads((REPOSITORY / "config" / "labels.zh.json").read_text(encoding="utf-8"))
TITLES = {"en": "What is in the picture?", "zh": "图里有什么？"}
HAN = re.compile(r"[\u4e00-\u9fff]")


@pytest.mark.parametrize(("locale", "language"), [("en-US", "en"), ("zh-CN", "zh"), ("zh-TW", "zh"), ("de-DE", "en")])
def test_the_page_speaks_the_browsers_language(open_page: OpenPage, locale: str, language: str) -> None:
    expect(open_page(locale=locale).get_by_role("heading", level=1)).to_have_text(TITLES[language])


def test_the_switch_translates_everything_and_is_remembered(answered: Page) -> None:
    answered.get_by_role("button", name="中文").click()
    expect(answered.get_by_role("heading", level=1)).to_have_text(TITLES["zh"])
    assert answered.locator("html").get_attribute("lang") == "zh-CN"
    first = answered.locator(".class-name").first
    english = first.locator(".original").inner_text()
    assert first.inner_text().removesuffix(english).strip() in CHINESE_LABELS.values()
    answered.reload()
    expect(answered.get_by_role("heading", level=1)).to_have_text(TITLES["zh"])
    expect(answered.get_by_role("button", name="中文")).to_have_attribute("aria-pressed", "true")


def test_classes_have_the_chinese_names_of_the_table(open_page: OpenPage) -> None:
    page = open_page(locale="zh-CN")
    with page.expect_response("**/classify?*") as response:
        page.set_input_files("#file-input", CAT)
    page.get_by_role("button", name="显示更多").click()
    for row, prediction in zip(page.locator(".class-name").all(), response.value.json()["predictions"], strict=True):
        expect(row).to_have_text(f"{CHINESE_LABELS[prediction['wnid']]} {prediction['label']}")


def test_a_number_and_its_unit_are_apart(open_page: OpenPage) -> None:
    page = open_page(locale="zh-CN")
    written = page.evaluate(
        """async () => {
            const { byteSize, duration } = await import("/static/i18n.js");
            return [duration(0.2), duration(327), byteSize(3.94e6)];
        }"""
    )
    assert written == ["<1 毫秒", "327 毫秒", "3.9 MB"]


def test_without_storage_the_choice_holds_until_the_page_is_left(open_page: OpenPage) -> None:
    page = open_page(
        init_script="""Object.defineProperty(window, "localStorage", {
            get() { throw new DOMException("", "SecurityError"); },
        });"""
    )
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(TITLES["zh"])


def test_without_the_chinese_names_classes_keep_their_english_ones(open_page: OpenPage) -> None:
    page = open_page(locale="zh-CN")
    page.route("**/labels/zh.json", lambda route: route.fulfill(status=503, body=""))
    page.reload()
    page.set_input_files("#file-input", CAT)
    expect(page.locator(".predictions li").first).to_contain_text(re.compile("[a-z]+"))
    assert not HAN.search(page.locator(".predictions").inner_text())


def test_every_text_exists_in_both_languages_with_the_same_values(page: Page) -> None:
    texts: dict[str, dict[str, str]] = page.evaluate("async () => (await import('/static/texts.js')).TEXTS")
    assert len(texts) > 50
    for key, text in texts.items():
        assert set(text) == {"en", "zh"}, key
        assert sorted(re.findall(r"\{\w+\}", text["en"])) == sorted(re.findall(r"\{\w+\}", text["zh"])), key
        assert not HAN.search(text["en"]), key
        assert text["zh"] != text["en"], key
