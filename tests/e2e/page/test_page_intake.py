"""Every way in: dropped, pasted, chosen, photographed."""

from __future__ import annotations

import base64

import pytest
from playwright.sync_api import FilePayload, Page, expect

from tests.e2e.page.browsing import OpenPage, wait_until_kept
from tests.e2e.page.pictures import payload, picture, pictures
from tests.support import CAT

pytestmark = pytest.mark.needs("chromium")

#: What EfficientNet-Lite0 may well see in the cat.
CATS = {"tabby", "tiger cat", "Egyptian cat"}

MAKE_TRANSFER = """files => {
    const transfer = new DataTransfer();
    for (const { name, type, content } of files) {
        const bytes = Uint8Array.from(atob(content), character => character.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type }));
    }
    return transfer;
}"""


def drop(page: Page, files: list[FilePayload]) -> None:
    """Drop files onto the middle of the page, as a browser does."""
    described = [
        {"name": file["name"], "type": file["mimeType"], "content": base64.b64encode(file["buffer"]).decode()}
        for file in files
    ]
    transfer = page.evaluate_handle(MAKE_TRANSFER, described)
    for event in ("dragenter", "dragover"):
        page.dispatch_event("main", event, {"dataTransfer": transfer})
    expect(page.locator("#drop-overlay")).to_be_visible()
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})
    expect(page.locator("#drop-overlay")).to_be_hidden()


def test_each_dropped_picture_gets_a_card_with_its_own_answer(page: Page) -> None:
    files = [
        payload("cat.jpg", CAT.read_bytes(), "image/jpeg"),
        picture("red.png", (220, 20, 20)),
        picture("b.png", (0, 0, 90)),
    ]
    drop(page, files)
    expect(page.locator("[data-phase=done]")).to_have_count(3)
    expect(page.get_by_role("heading", level=3)).to_have_text(["cat.jpg", "red.png", "b.png"])
    cat = page.get_by_role("article", name="cat.jpg")
    assert cat.locator(".class-name").first.inner_text() in CATS
    expect(cat.locator(".predictions li")).to_have_count(3)
    assert page.get_by_role("article", name="b.png").locator(".class-name").first.inner_text() not in CATS


def test_a_pasted_picture_is_answered(page: Page) -> None:
    page.evaluate(
        """async content => {
            const bytes = Uint8Array.from(atob(content), character => character.charCodeAt(0));
            const picture = new Blob([bytes], { type: "image/png" });
            await navigator.clipboard.write([new ClipboardItem({ "image/png": picture })]);
        }""",
        base64.b64encode(picture("x.png", (10, 120, 200))["buffer"]).decode(),
    )
    page.keyboard.press("Control+V")
    expect(page.locator("[data-phase=done]")).to_have_count(1)


def test_chosen_pictures_are_answered_and_can_be_chosen_again(page: Page) -> None:
    for count in (2, 4):
        with page.expect_file_chooser() as chooser:
            page.get_by_role("button", name="Choose pictures").click()
        assert chooser.value.is_multiple()
        chooser.value.set_files(pictures(2))
        expect(page.locator("[data-phase=done]")).to_have_count(count)


def test_the_camera_takes_a_photograph_and_is_switched_off(page: Page) -> None:
    page.get_by_role("button", name="Take a photo").click()
    page.get_by_role("button", name="Take the photo").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator("[data-phase=done]")).to_have_count(1)
    assert page.evaluate("document.getElementById('viewfinder').srcObject") is None


def test_a_refused_camera_is_explained(open_page: OpenPage) -> None:
    page = open_page(
        init_script="""navigator.mediaDevices.getUserMedia = async () => {
            throw new DOMException("", "NotAllowedError");
        };"""
    )
    page.get_by_role("button", name="Take a photo").click()
    expect(page.locator("#camera-state")).to_contain_text("does not allow this page to use the camera")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_a_browser_that_lends_no_camera_shows_no_button_for_it(open_page: OpenPage) -> None:
    page = open_page(init_script="delete Navigator.prototype.mediaDevices;")
    expect(page.get_by_role("button", name="Take a photo")).to_be_hidden()


def test_text_that_is_pasted_or_dropped_is_explained(page: Page) -> None:
    page.evaluate("navigator.clipboard.writeText('a picture')")
    page.keyboard.press("Control+V")
    expect(page.get_by_role("status").first).to_contain_text("What was pasted or dropped is text")


def test_more_pictures_than_fit_are_taken_in_part_and_said_so(page: Page) -> None:
    page.get_by_label("Start automatically").uncheck()
    page.set_input_files("#file-input", [payload(f"{index}.txt", b"text", "text/plain") for index in range(503)])
    expect(page.locator("#overview")).to_have_text("500 not started")
    expect(page.get_by_role("row")).to_have_count(1 + 500)
    expect(page.locator("#notice")).to_contain_text("The first 500 of 503 pictures were taken")


def test_no_more_than_three_requests_are_in_flight(open_page: OpenPage) -> None:
    page = open_page(
        init_script="""
            globalThis.inFlight = { now: 0, most: 0 };
            const { send } = XMLHttpRequest.prototype;
            XMLHttpRequest.prototype.send = function (body) {
                inFlight.most = Math.max(inFlight.most, ++inFlight.now);
                this.addEventListener("readystatechange", () => { if (this.readyState === 4) inFlight.now -= 1; });
                send.call(this, body);
            };
        """
    )
    page.set_input_files("#file-input", pictures(8))
    expect(page.locator("#overview")).to_have_text("8 recognized")
    assert page.evaluate("inFlight.most") == 3
    assert page.evaluate("inFlight.now") == 0


def test_pictures_wait_for_the_start_button_where_a_person_wants_that(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/classify" in request.url else None)
    page.get_by_label("Start automatically").uncheck()
    page.set_input_files("#file-input", pictures(3))
    page.get_by_role("button", name="Remove picture 1.png").click()
    page.get_by_label("Model").select_option("resnet18")
    expect(page.locator("#overview")).to_have_text("2 not started")
    wait_until_kept(page, 2)
    page.reload()
    expect(page.get_by_label("Start automatically")).not_to_be_checked()
    expect(page.locator("#overview")).to_have_text("2 not started")
    assert asked == []
    page.get_by_role("button", name="Start recognizing (2)").click()
    expect(page.locator("#overview")).to_have_text("2 recognized")
    expect(page.get_by_role("button", name="Start recognizing")).to_be_hidden()


def test_thumbnails_give_their_memory_back(open_page: OpenPage) -> None:
    page = open_page(
        init_script="""
            globalThis.lent = new Set();
            const { createObjectURL, revokeObjectURL } = URL;
            URL.createObjectURL = (blob) => { const url = createObjectURL.call(URL, blob); lent.add(url); return url; };
            URL.revokeObjectURL = (url) => { lent.delete(url); revokeObjectURL.call(URL, url); };
        """
    )
    page.set_input_files("#file-input", [*pictures(2), payload("notes.txt", b"text", "text/plain")])
    expect(page.locator(".card[aria-busy=false]")).to_have_count(3)
    assert page.evaluate("lent.size") == 0
