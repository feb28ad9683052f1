""" "This is wrong": the right class, for whoever runs the service; and pictures by their address."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.e2e.page.browsing import OpenPage, change_models
from tests.e2e.page.test_page_access import violations
from tests.support import CAT

pytestmark = pytest.mark.needs("chromium")

ID = "0123456789abcdef"


def offering(page: Page, **offers: bool) -> Page:
    """The page of a service that says of itself that it has this on offer."""
    change_models(page, lambda listed: listed.update(offers))
    return page


def answer_reports(page: Page, status: int = 201, **content: str) -> list[Request]:
    """The reports that are sent from now on."""
    sent: list[Request] = []

    def answer(route: Route) -> None:
        sent.append(route.request)
        route.fulfill(status=status, json=content or {"id": ID})

    page.route("**/feedback?*", answer)
    return sent


def query(request: Request) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}


def show_cat(page: Page) -> None:
    page.set_input_files("#file-input", CAT)
    page.locator("[data-phase=done]").wait_for()


@pytest.fixture
def reporting(open_page: OpenPage) -> Page:
    """The page of a service that takes reports, with an answer."""
    page = offering(open_page(), feedback=True)
    show_cat(page)
    return page


def test_nothing_can_be_reported_where_the_service_takes_no_reports(answered: Page) -> None:
    offering(answered, feedback=False)
    expect(answered.locator("[data-phase=done]")).to_have_count(1)
    expect(answered.get_by_role("button", name="This is wrong")).to_have_count(0)


def test_a_class_is_reported_with_the_keyboard_alone(reporting: Page) -> None:
    sent = answer_reports(reporting)
    expect(reporting.locator("#formats")).to_contain_text("not stored, except one whose answer you report as wrong")
    reporting.get_by_role("button", name="This is wrong").focus()
    reporting.keyboard.press("Enter")
    expect(reporting.get_by_label("What is it really?")).to_be_focused()
    expect(reporting.locator("#class-names option")).to_have_count(1000)
    reporting.keyboard.type("Red Fox")
    expect(reporting.locator(".report-meaning")).to_be_empty()
    reporting.keyboard.press("Enter")
    expect(reporting.locator(".thanks")).to_be_focused()
    expect(reporting.locator(".thanks")).to_contain_text("Kept as “red fox”")
    expect(reporting.locator(".thanks")).to_contain_text(ID)
    (report,) = sent
    assert query(report) == {"model": "efficientnet_lite0", "predicted_class_id": "285", "class_id": "277"}
    assert report.method == "POST"
    # It cannot be sent again, not even after a reload or in the other language.
    reporting.get_by_role("button", name="中文").click()
    expect(reporting.locator(".thanks")).to_contain_text("已按“赤狐”保存")
    reporting.reload()
    expect(reporting.locator(".thanks")).to_contain_text("赤狐")
    expect(reporting.locator(".report-button")).to_be_hidden()


def test_another_answer_can_be_reported_again(reporting: Page) -> None:
    answer_reports(reporting)
    reporting.get_by_role("button", name="This is wrong").click()
    reporting.get_by_label("What is it really?").fill("red fox")
    reporting.get_by_role("button", name="Send").click()
    reporting.locator(".thanks").wait_for()
    reporting.get_by_label("Model").select_option("resnet18")
    expect(reporting.locator(".verdict")).to_contain_text("random")
    expect(reporting.locator(".thanks")).to_have_count(0)
    expect(reporting.get_by_role("button", name="This is wrong")).to_have_count(0)  # random answers are all wrong
    reporting.get_by_label("Model").select_option("efficientnet_lite0")
    expect(reporting.get_by_role("button", name="This is wrong")).to_be_visible()


def test_what_is_none_of_the_classes_is_kept_in_ones_own_words(reporting: Page) -> None:
    sent = answer_reports(reporting)
    reporting.get_by_role("button", name="This is wrong").click()
    reporting.get_by_label("What is it really?").fill("my neighbour's cat")
    expect(reporting.locator(".report-meaning")).to_contain_text("1,000 classes has this name")
    reporting.get_by_role("button", name="Send").click()
    expect(reporting.locator(".thanks")).to_contain_text("my neighbour's cat")
    assert query(sent[0])["other"] == "my neighbour's cat"


def test_the_answer_itself_is_not_reported_and_a_suggestion_is_one_click_away(reporting: Page) -> None:
    sent = answer_reports(reporting)
    first, second, *_ = reporting.locator(".class-name").all_inner_texts()
    reporting.get_by_role("button", name="This is wrong").click()
    reporting.get_by_label("What is it really?").fill(first)
    reporting.get_by_role("button", name="Send").click()
    expect(reporting.get_by_role("alert")).to_contain_text("That is what the model answered")
    reporting.get_by_role("group", name="Other classes").get_by_role("button", name=second, exact=True).click()
    expect(reporting.get_by_label("What is it really?")).to_have_value(second)
    reporting.keyboard.press("Enter")
    expect(reporting.locator(".thanks")).to_contain_text(second)
    assert len(sent) == 1


def test_a_report_that_fails_is_said_and_can_be_sent_again(reporting: Page) -> None:
    answer_reports(reporting, 507, type="StorageFull")
    button = reporting.get_by_role("button", name="This is wrong")
    button.click()
    reporting.get_by_label("What is it really?").fill("tabby")
    reporting.get_by_role("button", name="Send").click()
    expect(reporting.get_by_role("alert")).to_contain_text("no room for more reports")
    answer_reports(reporting)
    reporting.get_by_role("button", name="Send").click()
    expect(reporting.locator(".thanks")).to_be_visible()


def test_the_form_is_left_with_escape(reporting: Page) -> None:
    reporting.get_by_role("button", name="This is wrong").click()
    reporting.keyboard.press("Escape")
    expect(reporting.get_by_label("What is it really?")).to_be_hidden()
    expect(reporting.get_by_role("button", name="This is wrong")).to_be_focused()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("locale", ["en-US", "zh-CN"])
def test_axe_finds_nothing_serious_in_a_report(open_page: OpenPage, locale: str, dark: bool) -> None:
    page = offering(open_page(locale=locale, dark=dark, width=390, height=664), feedback=True)
    answer_reports(page)
    show_cat(page)
    page.locator(".report-button").click()
    page.locator(".report-form input").fill("?")
    expect(page.locator(".report-meaning")).not_to_be_empty()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator(".report-form input").press("Enter")
    page.locator(".thanks").wait_for()
    assert violations(page) == []


PASTE = """({ types, kind }) => {
    const transfer = new DataTransfer();
    for (const [type, text] of Object.entries(types)) transfer.setData(type, text);
    const event = kind === "paste"
        ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
        : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
    document.querySelector("main").dispatchEvent(event);
}"""
ADDRESS = "https://pictures.example/big/a%20cat.jpg?size=9"


@pytest.mark.parametrize("kind", ["paste", "drop"])
@pytest.mark.parametrize(
    "types",
    [
        {"text/plain": f" {ADDRESS}\n"},
        {"text/uri-list": f"# a comment\r\n{ADDRESS}\r\n", "text/plain": ADDRESS},
        # A picture within a link, as a search shows them.
        {"text/uri-list": "https://pictures.example/page", "text/html": f'<a href="/page"><img src="{ADDRESS}"></a>'},
    ],
    ids=["text", "list", "html"],
)
def test_an_address_is_fetched_where_the_service_does_that(page: Page, types: dict[str, str], kind: str) -> None:
    offering(page, fetches_urls=True)
    asked: list[str] = []

    def answer(route: Route) -> None:
        asked.append(query(route.request)["url"])
        route.fulfill(body=CAT.read_bytes(), content_type="application/octet-stream")

    page.route("**/fetch?*", answer)
    page.evaluate(PASTE, {"types": types, "kind": kind})
    expect(page.get_by_role("article", name="a cat.jpg")).to_have_attribute("data-phase", "done")
    expect(page.locator(".no-preview")).to_have_count(0)
    expect(page.locator("#notice")).to_be_empty()
    assert asked == [ADDRESS]


def test_an_address_that_has_no_picture_is_explained(page: Page) -> None:
    offering(page, fetches_urls=True)
    page.route("**/fetch?*", lambda route: route.fulfill(status=400, json={"type": "PictureNotFetched"}))
    page.evaluate(PASTE, {"types": {"text/plain": "http://127.0.0.1/"}, "kind": "paste"})
    expect(page.locator("#notice")).to_contain_text("No picture could be fetched from this address")


def test_an_address_is_called_one_where_none_is_fetched(page: Page) -> None:
    offering(page, fetches_urls=False)
    asked: list[str] = []
    # The page's own examples may still be on their way.
    page.on("request", lambda request: None if "/examples/" in request.url else asked.append(request.url))
    page.evaluate(PASTE, {"types": {"text/plain": ADDRESS}, "kind": "paste"})
    expect(page.locator("#notice")).to_contain_text("That is a web address")
    assert asked == []


def test_a_small_picture_of_a_search_comes_with_the_drag_itself(page: Page) -> None:
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mOsr69nwAaYGHCAwSkBAC3FAY1cxr/UAAAAAElFTkSuQmCC"
    html = f'<img src="data:image/png;base64,{pixel}">'
    page.evaluate(PASTE, {"types": {"text/html": html, "text/uri-list": "https://a.example/page"}, "kind": "drop"})
    expect(page.get_by_role("article", name="picture.png")).to_have_attribute("data-phase", "done")
