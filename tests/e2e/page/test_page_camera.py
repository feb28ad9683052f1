"""The camera held at things, live, and where there is none."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.e2e.page.browsing import OpenPage
from tests.e2e.page.pictures import picture

pytestmark = pytest.mark.needs("chromium")


def go_live(page: Page) -> None:
    page.get_by_role("button", name="Take a photo").click()
    page.locator("#camera-shutter:enabled").wait_for()
    page.get_by_role("switch", name="Live").check()


def test_live_answers_follow_the_camera_and_a_picture_can_be_kept(page: Page) -> None:
    in_flight = 0
    most = 0
    frames = 0

    def begin(request: object) -> None:
        nonlocal in_flight, most, frames
        in_flight += 1
        frames += 1
        most = max(most, in_flight)

    def end(request: object) -> None:
        nonlocal in_flight
        in_flight -= 1

    page.on("request", lambda request: begin(request) if "/classify" in request.url else None)
    page.on("requestfinished", lambda request: end(request) if "/classify" in request.url else None)
    go_live(page)
    live = page.locator("#live-answer")
    expect(live.locator(".class-name")).to_have_count(3)
    expect(live).to_contain_text("a second")
    for _ in range(100):
        if frames >= 4:
            break
        page.wait_for_timeout(100)
    assert frames >= 4
    assert most == 1
    page.get_by_role("button", name="Keep this picture").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("[data-phase=done]")).to_have_count(1)
    assert page.evaluate("document.getElementById('viewfinder').srcObject") is None
    asked = frames
    page.wait_for_timeout(500)
    assert frames == asked


def test_live_says_what_fails_and_goes_on(page: Page) -> None:
    refused = {"status": 429, "json": {"type": "RateLimited"}, "headers": {"Retry-After": "1"}}
    page.route("**/classify?*", lambda route: route.fulfill(**refused), times=1)
    go_live(page)
    expect(page.locator("#camera-state")).to_contain_text("Too many pictures in a short time")
    expect(page.locator("#live-answer .class-name")).to_have_count(3)
    expect(page.locator("#camera-state")).to_contain_text("goes to the service")


def test_live_ends_where_trying_again_cannot_help(page: Page) -> None:
    def refuse(route: Route) -> None:
        route.fulfill(status=413, json={"type": "ImageTooLarge"})

    page.route("**/classify?*", refuse)
    go_live(page)
    expect(page.locator("#camera-state")).to_contain_text("too large for the service")
    expect(page.get_by_role("switch", name="Live")).not_to_be_checked()
    expect(page.get_by_role("button", name="Take the photo")).to_be_enabled()


def test_a_forgotten_camera_stops_asking(page: Page) -> None:
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request))
    page.clock.install()
    go_live(page)
    expect(page.locator("#live-answer .class-name")).to_have_count(3)
    # Out of sight it asks no more: what is asked while the clock is put forward would have taken three minutes.
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.wait_for_timeout(1000)
    for request in asked:
        request.response()
    page.clock.fast_forward("03:01")
    expect(page.locator("#camera-state")).to_contain_text("switched off after three minutes")
    expect(page.get_by_role("switch", name="Live")).not_to_be_checked()


def test_without_a_camera_a_picture_can_be_chosen(open_page: OpenPage) -> None:
    page = open_page(
        init_script="""navigator.mediaDevices.getUserMedia = async () => {
            throw new DOMException("", "NotFoundError");
        };"""
    )
    page.get_by_role("button", name="Take a photo").click()
    expect(page.get_by_role("dialog")).to_contain_text("No camera was found")
    expect(page.locator("video")).to_be_hidden()
    expect(page.get_by_role("button", name="Take the photo")).to_be_hidden()
    choose = page.get_by_role("button", name="Choose a picture")
    expect(choose).to_be_focused()
    with page.expect_file_chooser() as chooser:
        choose.click()
    chooser.value.set_files(picture("red.png", (220, 20, 20)))
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("[data-phase=done]")).to_have_count(1)
