"""What is around the page: /docs, and addresses that a browser has no use for."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.page.browsing import OpenPage
from tests.e2e.page.test_page_access import PAPER, violations


def expect_ground(page: Page, theme: str) -> None:
    expect(page.locator("html")).to_have_css("background-color", PAPER[theme])


def test_docs_are_in_the_language_and_colors_that_were_chosen_on_the_page(open_page: OpenPage, web_url: str) -> None:
    page = open_page()
    page.get_by_role("button", name="中文").click()
    page.goto(f"{web_url}/docs")
    expect(page.locator("html")).to_have_attribute("lang", "zh")
    expect(page.get_by_role("heading", name="图像分类")).to_be_visible()
    expect(page.get_by_text("图片分类：标签和置信度").first).to_be_visible()
    expect_ground(page, "light")
    page.emulate_media(color_scheme="dark")
    expect(page.locator("html.dark-mode")).to_have_count(1)
    expect_ground(page, "dark")
    page.evaluate("localStorage.setItem('theme', 'light')")
    page.reload()
    expect(page.locator(".opblock").first).to_be_visible()
    expect_ground(page, "light")
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading", name="image classification")).to_be_visible()
    page.get_by_role("link", name="←").click()
    expect(page.locator("h1")).to_have_text("What is in the picture?")  # the language of the page as well


def test_docs_try_a_picture_out(open_page: OpenPage, web_url: str) -> None:
    page = open_page()
    page.goto(f"{web_url}/docs/?lang=en")
    models = page.locator("#operations-Pictures-models_models_get")
    models.get_by_role("button").first.click()
    models.get_by_role("button", name="Try it out").click()
    models.get_by_role("button", name="Execute").click()
    expect(models.locator(".live-responses-table tbody .response-col_status").first).to_contain_text("200")
    expect(models.locator(".curl-command")).to_contain_text(f"{web_url}/models")


@pytest.mark.parametrize(("path", "title"), [("/nothing/here", "Page not found"), ("/predict", "This address is for")])
@pytest.mark.parametrize("dark", [False, True])
def test_page_for_an_address_that_was_mistaken_leads_back(
    open_page: OpenPage, web_url: str, path: str, title: str, dark: bool
) -> None:
    page = open_page(width=390, height=664, dark=dark)
    page.goto(web_url + path)
    expect(page.locator("h1")).to_contain_text(title)
    expect_ground(page, "dark" if dark else "light")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert violations(page) == []
    page.get_by_role("link", name="返回首页").click()
    expect(page.locator("#choose")).to_be_visible()
