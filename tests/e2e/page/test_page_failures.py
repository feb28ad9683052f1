"""Failures: what a person is told, and that trying again works where it may."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import FilePayload, Page, Route, expect

from tests.e2e.page.browsing import OpenPage
from tests.e2e.page.pictures import huge_picture, payload, pictures
from tests.heic import Item, heic, ispe, picture
from tests.support import CAT

pytestmark = pytest.mark.needs("chromium")

#: Refused with the decoder of HEIC, and without.
OVERLAY = heic([Item(b"iovl", b"", [ispe()]), picture()])
TRY_AGAIN = "Try again"


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (payload("notes.txt", b"not a picture at all", "text/plain"), "file format is not supported"),
        (payload("cut.jpg", CAT.read_bytes()[:9000], "image/jpeg"), "damaged or incomplete"),
        (payload("nothing.png", b""), "damaged or incomplete"),
        (payload("phone.heic", OVERLAY, "image/heic"), "Export the photo as JPEG"),
        (payload("film.mp4", bytes(16_500_000), "video/mp4"), "too large"),
    ],
    ids=["text", "truncated", "empty", "heic", "too large"],
)
def test_a_file_that_cannot_be_read_says_what_to_do(page: Page, file: FilePayload, message: str) -> None:
    page.set_input_files("#file-input", file)
    expect(page.locator("[data-phase=failed] .failure")).to_contain_text(message)
    expect(page.get_by_role("button", name=TRY_AGAIN)).to_have_count(0)


@pytest.mark.needs("heif")
def test_a_heic_photo_is_answered_though_this_browser_cannot_show_it(page: Page) -> None:
    expect(page.locator("#formats")).to_contain_text("HEIC")
    page.set_input_files("#file-input", payload("IMG_0001.HEIC", heic([picture()]), "image/heic"))
    card = page.locator("[data-phase=done]")
    expect(card.locator(".verdict")).not_to_be_empty()
    expect(card).to_contain_class("no-preview")
    expect(card.locator(".picture")).to_be_hidden()


def test_a_picture_over_the_limit_is_made_smaller_here_and_answered(page: Page) -> None:
    page.set_input_files("#file-input", huge_picture("large.bmp", side=2400))
    expect(page.locator("[data-phase=done]")).to_have_count(1)
    expect(page.locator(".meta").last).to_contain_text("Made smaller in this browser before it was sent (17.3 MB to")


def refuse(status: int, error_type: str, *, retry_after_s: int = 1) -> Callable[[Route], None]:
    error = {"code": status, "type": error_type, "message": "for programs"}
    headers = {"X-Request-ID": "7f3a", "Retry-After": str(retry_after_s)}
    return lambda route: route.fulfill(status=status, json=error, headers=headers)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (refuse(408, "UploadTimeout"), "The picture took too long to arrive."),
        (refuse(502, "InferenceFailed"), "The service failed."),
        (refuse(404, "UnknownModel"), "no longer offers this model"),
        (
            lambda route: route.fulfill(status=502, body="<html>Bad Gateway</html>"),
            "The service failed.",
        ),
        (lambda route: route.fulfill(status=200, body="<html>Log in</html>"), "The service failed."),
    ],
    ids=["upload", "engine", "model", "proxy", "portal"],
)
def test_a_failure_of_the_service_is_told_and_trying_again_answers(
    page: Page, answer: Callable[[Route], None], message: str
) -> None:
    page.route("**/classify?*", answer, times=1)
    page.set_input_files("#file-input", CAT)
    expect(page.locator(".failure")).to_contain_text(message)
    page.get_by_role("button", name=TRY_AGAIN).click()
    expect(page.locator("[data-phase=done]")).to_have_count(1)
    expect(page.locator(".failure")).to_have_count(0)


def test_a_fault_of_the_service_names_the_request_for_its_operator(page: Page) -> None:
    page.route("**/classify?*", refuse(502, "InferenceFailed"))
    page.set_input_files("#file-input", CAT)
    expect(page.locator(".meta")).to_have_text("Request ID: 7f3a")


def test_a_service_that_asks_for_a_key_is_given_one(page: Page) -> None:
    def guard(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer open-sesame-12345":
            route.continue_()
        else:
            refuse(401, "ApiKeyRequired")(route)

    page.route("**/classify?*", guard)
    page.set_input_files("#file-input", CAT)
    expect(page.locator(".failure")).to_contain_text("This service requires an API key.")
    page.get_by_label("API key").fill("open-sesame-12345")
    page.keyboard.press("Enter")
    expect(page.locator("[data-phase=done]")).to_have_count(1)
    expect(page.get_by_label("API key")).to_be_hidden()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (refuse(503, "Overloaded"), "The service is busy just now."),
        (refuse(429, "RateLimited"), "Too many pictures in a short time"),
        (refuse(503, "ModelUnavailable"), "The model is starting."),
        (refuse(504, "DeadlineExceeded"), "The answer took too long."),
        (lambda route: route.abort("connectionrefused"), "The service cannot be reached."),
    ],
    ids=["busy", "rate", "starting", "deadline", "down"],
)
def test_what_passes_by_itself_is_waited_for_and_said(
    page: Page, answer: Callable[[Route], None], message: str
) -> None:
    page.clock.install()
    page.route("**/classify?*", answer, times=1)
    page.set_input_files("#file-input", CAT)
    waiting = page.locator("#patience")
    expect(waiting).to_contain_text(message)
    expect(waiting).to_contain_text("The next try is in 1 sec.")
    expect(page.locator("#overview")).to_have_text("1 waiting")
    page.clock.run_for(1000)
    expect(page.locator("[data-phase=done]")).to_have_count(1)
    expect(waiting).to_be_hidden()


def test_nobody_is_asked_before_the_time_that_the_service_names_unless_a_person_wants_it(page: Page) -> None:
    page.clock.install()
    page.route("**/classify?*", refuse(503, "Overloaded", retry_after_s=30), times=3)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/classify" in request.url else None)
    page.set_input_files("#file-input", pictures(5))
    expect(page.locator("#patience")).to_contain_text("The next try is in 30 sec.")
    page.clock.run_for(29_000)
    assert len(asked) == 3
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#overview")).to_have_text("5 recognized")


def test_after_three_more_tries_all_have_failed_and_one_click_asks_again(page: Page) -> None:
    page.clock.install()
    page.set_input_files("#file-input", [payload("notes.txt", b"text", "text/plain"), *pictures(1)])
    overview = page.locator("#overview")
    expect(overview).to_have_text("1 recognized · 1 not readable")
    page.route("**/classify?*", lambda route: route.abort("connectionrefused"))
    page.set_input_files("#file-input", pictures(7))
    for wait_s in (1, 2, 4):
        expect(page.locator("#patience")).to_contain_text(f"The next try is in {wait_s} sec.")
        page.clock.run_for(1000 * wait_s)
    expect(overview).to_have_text("1 recognized · 7 failed · 1 not readable")
    expect(page.locator("[data-phase=failed]").first).to_contain_text("The service cannot be reached.")
    page.unroute("**/classify?*")
    page.get_by_role("button", name="Retry failed (7)").click()
    expect(overview).to_have_text("8 recognized · 1 not readable")
    expect(page.get_by_role("button", name="Retry failed")).to_be_hidden()


def test_a_time_longer_than_anybody_waits_is_a_failure_at_once(page: Page) -> None:
    page.route("**/classify?*", refuse(429, "RateLimited", retry_after_s=3600))
    page.set_input_files("#file-input", CAT)
    expect(page.locator(".failure")).to_contain_text("Too many pictures in a short time")


def test_without_a_network_the_page_says_so_and_goes_on_by_itself_once_it_is_back(page: Page) -> None:
    page.context.set_offline(True)
    page.set_input_files("#file-input", CAT)
    expect(page.locator("#patience")).to_contain_text("You are offline.")
    page.context.set_offline(False)
    expect(page.locator("[data-phase=done]")).to_have_count(1)


def test_one_failure_leaves_the_other_pictures_untouched(page: Page) -> None:
    page.set_input_files(
        "#file-input", [payload("cat.jpg", CAT.read_bytes()), payload("notes.txt", b"text", "text/plain")]
    )
    expect(page.get_by_role("article", name="cat.jpg").locator(".predictions li")).to_have_count(3)
    expect(page.get_by_role("article", name="notes.txt").locator(".failure")).to_be_visible()
    expect(page.locator("#overview")).to_have_text("1 recognized · 1 not readable")


def test_a_map_that_cannot_be_had_is_told_beside_the_answer(answered: Page) -> None:
    answered.route("**/explain?*", refuse(503, "Overloaded"), times=1)
    answered.get_by_role("button", name="Why?").click()
    expect(answered.locator(".why")).to_contain_text("There is no map for this answer. The service is busy just now.")
    answered.get_by_role("button", name="Hide the map").click()
    answered.get_by_role("button", name="Why?").click()
    expect(answered.locator(".overlay")).to_be_visible()


def test_the_page_works_without_the_list_of_models(open_page: OpenPage) -> None:
    page = open_page()
    page.route("**/models", refuse(503, "Overloaded"), times=1)
    page.reload()
    expect(page.get_by_role("note")).to_be_hidden()
    page.set_input_files("#file-input", CAT)
    expect(page.locator("[data-phase=done]")).to_have_count(1)
    expect(page.get_by_role("note")).to_contain_text("The demonstration model is answering.")
    expect(page.get_by_label("Model")).to_be_visible()
