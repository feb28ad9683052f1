"""What is sent of a picture, how far it has come, and that a reload loses nothing."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from playwright.sync_api import Dialog, FilePayload, Page, Request, Route, expect

from tests.e2e.page.browsing import OpenPage, wait_until_kept
from tests.e2e.page.pictures import payload, picture, pictures
from tests.support import CAT

pytestmark = pytest.mark.needs("chromium")

#: Bytes a second of a slow line: 1 Mbit/s.
SLOW_LINE = 125_000


def photograph(name: str, size: tuple[int, int], noise: float) -> FilePayload:
    """The cat, enlarged, with as much noise as makes a file of some megabytes."""
    pixels = np.asarray(Image.open(CAT).convert("RGB").resize(size, Image.Resampling.LANCZOS), np.float32)
    noisy = pixels + np.random.default_rng(5).normal(0, noise, pixels.shape)
    encoded = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(encoded, "JPEG", quality=90)
    return payload(name, encoded.getvalue(), "image/jpeg")


def sent_bytes(request: Request) -> int:
    return int(request.all_headers()["content-length"])


def test_a_large_photograph_is_sent_smaller_and_the_original_where_a_person_wants_that(page: Page) -> None:
    original = photograph("large.jpg", (2400, 1600), 16.0)
    assert len(original["buffer"]) > 1_000_000
    with page.expect_request("**/classify?*") as request:
        page.set_input_files("#file-input", original)
    assert sent_bytes(request.value) < 500_000
    assert int(request.value.all_headers()["x-request-timeout-ms"]) > 10_000  # the page's own patience
    card = page.get_by_role("article")
    label = card.locator(".class-name").first.inner_text()
    expect(card).to_contain_text("Made smaller in this browser before it was sent")
    with page.expect_request("**/classify?*") as request:
        page.get_by_role("button", name="Send the original instead").click()
    assert sent_bytes(request.value) > len(original["buffer"])
    expect(card.locator(".class-name").first).to_have_text(label)
    expect(page.get_by_role("button", name="Send the original instead")).to_have_count(0)


def test_a_picture_that_is_large_as_a_file_alone_keeps_the_resolution_of_its_colors(page: Page) -> None:
    encoded = io.BytesIO()
    Image.open(CAT).convert("RGB").resize((900, 600)).save(encoded, "PNG")
    assert len(encoded.getvalue()) > 500_000
    page.evaluate(
        """() => {
            const { append } = FormData.prototype;
            FormData.prototype.append = function (name, value) {
                globalThis.sent = value;
                append.call(this, name, value);
            };
        }"""
    )
    page.set_input_files("#file-input", payload("screenshot.png", encoded.getvalue()))
    expect(page.locator("[data-phase=done]")).to_have_count(1)
    sent = bytes(page.evaluate("async () => [...new Uint8Array(await sent.arrayBuffer())]"))
    assert len(sent) < 500_000
    upload = JpegImageFile(io.BytesIO(sent))
    assert upload.size == (900, 600)
    assert upload.layer[0][1:3] == (1, 1)  # of the brightness: no finer than the colors


def test_a_picture_with_too_many_pixels_is_made_smaller_though_its_file_is_small(page: Page) -> None:
    encoded = io.BytesIO()
    Image.new("L", (10_000, 6_000), 90).save(encoded, "PNG")
    page.set_input_files("#file-input", payload("poster.png", encoded.getvalue()))
    expect(page.locator("[data-phase=done]")).to_contain_text("Made smaller in this browser")


def test_uploading_is_told_apart_from_recognizing(page: Page) -> None:
    line = page.context.new_cdp_session(page)
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": SLOW_LINE}
    line.send("Network.emulateNetworkConditions", conditions)
    page.set_input_files("#file-input", payload("cat.jpg", CAT.read_bytes() + bytes(350_000), "image/jpeg"))
    card = page.get_by_role("article")
    expect(card.get_by_text("Uploading")).to_be_visible()
    bar = card.locator("progress")
    expect(bar).to_have_js_property("max", 1)
    shares = [
        bar.evaluate("bar => new Promise(resolve => setTimeout(() => resolve(bar.value), 300))") for _ in range(3)
    ]
    assert 0 < shares[0] < shares[-1] < 1
    line.send("Network.emulateNetworkConditions", conditions | {"uploadThroughput": -1})
    expect(page.locator("[data-phase=done]")).to_have_count(1)


def test_a_reload_loses_no_picture_no_answer_and_not_the_model(page: Page) -> None:
    page.get_by_label("Model").select_option("resnet18")
    page.set_input_files(
        "#file-input", [payload("cat.jpg", CAT.read_bytes()), payload("notes.txt", b"text", "text/plain")]
    )
    overview = page.locator("#overview")
    expect(overview).to_have_text("1 recognized · 1 not readable")
    label = page.locator(".class-name").first.inner_text()
    held: list[Route] = []

    def hold_three(route: Route) -> None:
        if len(held) < 3:
            held.append(route)
        else:
            route.continue_()

    page.route("**/classify?*", hold_three)
    page.set_input_files("#file-input", pictures(5))
    expect(overview).to_have_text("1 recognized · 1 not readable · 3 in progress · 2 waiting")
    wait_until_kept(page, 7)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/classify" in request.url else None)
    page.reload()
    expect(overview).to_have_text("6 recognized · 1 not readable")
    assert len(asked) == 5
    assert all("model=resnet18" in address for address in asked)
    names = [*(f"picture {index}.png" for index in range(5)), "cat.jpg", "notes.txt"]
    expect(page.get_by_role("heading", level=3)).to_have_text(names)
    expect(page.get_by_role("article", name="cat.jpg").locator(".class-name").first).to_have_text(label)
    page.get_by_role("article", name="cat.jpg").get_by_role("button", name="Why?").click()
    expect(page.get_by_role("article", name="cat.jpg").locator(".overlay")).to_be_visible()
    page.get_by_role("button", name="Clear all").click()
    page.reload()
    expect(page.locator("#model")).to_have_value("resnet18")
    expect(page.locator(".card")).to_have_count(0)


def test_a_picture_that_comes_before_the_kept_ones_are_read_is_there_once(open_page: OpenPage) -> None:
    page = open_page(
        init_script="""const { query } = LockManager.prototype;
        LockManager.prototype.query = async function () {
            await new Promise((resolve) => { globalThis.readOn = resolve; });
            return query.call(this);
        };"""
    )
    page.set_input_files("#file-input", CAT)
    page.locator("[data-phase=done]").wait_for()
    page.evaluate("readOn()")
    page.reload()
    page.evaluate("readOn()")
    page.locator("[data-phase=done]").wait_for()
    page.reload()
    page.set_input_files("#file-input", picture("red.png", (220, 20, 20)))
    page.locator("[data-phase=done]").wait_for()
    page.evaluate("readOn()")
    expect(page.get_by_role("article", name="cat.jpg")).to_have_count(1)
    expect(page.get_by_role("article", name="red.png")).to_have_count(1)


def test_another_tab_sees_nothing_of_it_and_what_a_closed_tab_kept_is_forgotten(page: Page) -> None:
    page.set_input_files("#file-input", CAT)
    expect(page.locator("[data-phase=done]")).to_have_count(1)
    other = page.context.new_page()
    other.goto(page.url)
    other.locator("#model option").first.wait_for(state="attached")
    expect(other.locator(".card")).to_have_count(0)
    wait_until_kept(other, 1)
    page.close()
    other.reload()
    wait_until_kept(other, 0)


def test_where_nothing_can_be_kept_leaving_is_asked_about_while_pictures_are_under_way(open_page: OpenPage) -> None:
    page = open_page(init_script="IDBFactory.prototype.open = () => { throw new DOMException('', 'SecurityError'); };")
    held: list[Route] = []
    page.route("**/classify?*", lambda route: held.append(route))
    page.set_input_files("#file-input", CAT)
    expect(page.locator("#overview")).to_have_text("1 in progress")
    questions: list[str] = []

    def stay(dialog: Dialog) -> None:
        questions.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.close(run_before_unload=True)
    expect(page.locator("#overview")).to_have_text("1 in progress")
    assert questions == ["beforeunload"]
