"""Many pictures: the table, what is shown of the answers, and what can be taken away."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from playwright.sync_api import FilePayload, Locator, Page, Route, expect

from tests.e2e.page.browsing import OpenPage
from tests.e2e.page.pictures import payload, pictures
from tests.support import CAT

pytestmark = pytest.mark.needs("chromium")

NOTES = payload("notes.txt", b"text", "text/plain")


def cats(*names: str) -> list[FilePayload]:
    """The cat under several names, each a different file for the service's cache."""
    return [payload(name, CAT.read_bytes() + bytes(index), "image/jpeg") for index, name in enumerate(names)]


def names(page: Page) -> Locator:
    return page.locator("#rows [role=rowheader]")


def as_table(page: Page, *files: FilePayload) -> None:
    """Show ``files`` in the table, all of them answered or refused."""
    page.set_input_files("#file-input", list(files))
    page.get_by_role("radio", name="Table").check()
    expect(page.locator("#rows [data-outcome=done], #rows [data-outcome=refused]")).to_have_count(len(files))


def hide_below(page: Page, percent: int) -> None:
    page.locator("#labels-menu summary").click()
    page.get_by_label("Hide confidence below").fill(str(percent))
    page.keyboard.press("Escape")
    expect(page.locator("#labels-menu summary")).to_be_focused()


def test_from_twelve_pictures_on_a_table_shows_them_unless_a_person_wants_cards(page: Page) -> None:
    page.set_input_files("#file-input", pictures(11))
    expect(page.locator(".card[data-phase=done]")).to_have_count(11)
    page.set_input_files("#file-input", CAT)
    expect(page.locator("#rows [data-outcome=done]")).to_have_count(12)
    expect(page.get_by_role("table", name="Pictures and their labels")).to_be_visible()
    expect(page.locator(".card").first).to_be_hidden()
    page.get_by_role("radio", name="Cards").check()
    page.reload()
    expect(page.locator(".card[data-phase=done]")).to_have_count(12)
    expect(page.get_by_role("table")).to_be_hidden()


def test_a_table_is_sorted_by_a_column_and_filtered_by_state_and_words(page: Page) -> None:
    as_table(page, *cats("b10.jpg", "b9.jpg", "a.jpg"), *pictures(1), NOTES)
    assert names(page).all_inner_texts() == ["b10.jpg", "b9.jpg", "a.jpg", "picture 0.png", "notes.txt"]
    by_name = page.get_by_role("columnheader", name="Name")
    by_name.get_by_role("button").click()
    expect(by_name).to_have_attribute("aria-sort", "ascending")
    expect(names(page)).to_have_text(["a.jpg", "b9.jpg", "b10.jpg", "notes.txt", "picture 0.png"])
    by_name.get_by_role("button").click()
    expect(by_name).to_have_attribute("aria-sort", "descending")
    expect(names(page).first).to_have_text("picture 0.png")
    page.get_by_role("columnheader", name="Confidence").get_by_role("button").click()
    expect(by_name).not_to_have_attribute("aria-sort", re.compile("."))
    expect(names(page).last).to_have_text("notes.txt")
    shares = [float(text.rstrip("%")) for text in page.locator("#rows .number:not(.time)").all_inner_texts() if text]
    assert shares == sorted(shares, reverse=True)

    page.get_by_role("button", name="1 not readable").click()
    expect(names(page)).to_have_text(["notes.txt"])
    expect(page.locator("#rows")).to_contain_text("file format is not supported")
    page.get_by_role("button", name="All 5").click()
    label = page.locator("#rows .class-name").first.inner_text()
    page.get_by_label("Find names and labels").fill("B9")
    expect(names(page)).to_have_text(["b9.jpg"])
    page.get_by_label("Find names and labels").fill(label.upper())
    expect(page.locator("#rows .class-name").first).to_have_text(label)
    page.get_by_label("Find names and labels").fill("no such thing")
    expect(page.get_by_text("No picture matches.")).to_be_visible()


def test_a_row_opens_to_its_card_and_is_removed_by_keyboard(page: Page) -> None:
    as_table(page, *cats("one.jpg", "two.jpg", "three.jpg"))
    opener = page.get_by_role("button", name="two.jpg", exact=True)
    opener.press("Enter")
    expect(opener).to_have_attribute("aria-expanded", "true")
    card = page.get_by_role("article", name="two.jpg")
    expect(card.locator(".predictions li")).to_have_count(3)
    card.get_by_role("button", name="Why?").click()
    expect(card.locator(".overlay")).to_be_visible()
    opener.press("Enter")
    expect(card).to_be_hidden()
    page.locator("#rows .row").last.locator(".label").click()
    expect(page.get_by_role("article", name="three.jpg")).to_be_visible()
    page.locator("#rows").get_by_role("button", name="Remove two.jpg").press("Enter")
    expect(names(page)).to_have_text(["one.jpg", "three.jpg"])
    expect(page.get_by_role("button", name="three.jpg", exact=True)).to_be_focused()


def test_a_failed_row_is_asked_again(page: Page) -> None:
    page.route("**/classify?*", lambda route: route.fulfill(status=502, body=""), times=1)
    page.set_input_files("#file-input", cats("one.jpg"))
    page.set_input_files("#file-input", cats("two.jpg"))
    page.get_by_role("radio", name="Table").check()
    failed = page.locator("#rows [data-outcome=failed]")
    expect(failed).to_contain_text("The service failed.")
    failed.get_by_role("button", name="again").click()
    expect(page.locator("#rows [data-outcome=done]")).to_have_count(2)


def test_the_progress_of_one_picture_writes_no_other_row(page: Page) -> None:
    held: list[Route] = []
    page.route("**/classify?*", lambda route: held.append(route))
    page.set_input_files("#file-input", pictures(12))
    expect(page.locator("#rows .state", has_text=re.compile("Uploading|Recognizing"))).to_have_count(3)
    page.evaluate(
        """() => {
            globalThis.written = new Set();
            new MutationObserver((records) => {
                for (const { target } of records) {
                    const node = target instanceof Element ? target : target.parentElement;
                    written.add(node.closest(".row")?.title ?? node.id);
                }
            }).observe(document.getElementById("rows"), { childList: true, subtree: true, characterData: true });
        }"""
    )
    held[0].continue_()
    expect(page.locator("#rows [data-outcome=done]")).to_have_count(1)
    # The three that were sent, and the one that began when the first was answered.
    assert set(page.evaluate("[...written]")) <= {f"picture {index}.png" for index in range(4)}


@pytest.mark.parametrize("layout", ["Cards", "Table"])
def test_how_many_labels_and_from_which_confidence_on_is_chosen_and_remembered(page: Page, layout: str) -> None:
    page.set_input_files("#file-input", cats("one.jpg", "two.jpg"))
    page.get_by_role("radio", name=layout).check()
    shown = page.locator("#rows .further" if layout == "Table" else ".card .predictions").first
    separator = "·" if layout == "Table" else "%"
    expect(shown).to_contain_text(separator)
    page.locator("#labels-menu summary").click()
    page.get_by_label("Labels per picture").select_option("5")
    assert shown.inner_text().count(separator) == (3 if layout == "Table" else 5)
    page.keyboard.press("Escape")
    hide_below(page, 95)
    none = page.get_by_text("No label reaches 95%").filter(visible=True)
    expect(none).to_have_count(2)
    page.reload()
    expect(none).to_have_count(2)
    hide_below(page, 0)
    assert shown.inner_text().count(separator) == (3 if layout == "Table" else 5)


def test_answers_are_taken_away_as_csv_json_and_text(page: Page) -> None:
    page.get_by_label("Model").select_option("resnet18")
    as_table(page, *cats('=cmd|"x",1.jpg', "猫.jpg"), NOTES)
    page.locator("#export-menu summary").click()
    expect(page.locator("#export-extent")).to_have_text("All pictures: 3")
    with page.expect_download() as downloaded:
        page.get_by_role("button", name="Download CSV").click()
    assert re.fullmatch(r"marserve-\d{4}-\d\d-\d\d-\d{6}\.csv", downloaded.value.suggested_filename)
    content = downloaded.value.path().read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    assert b"\r\n" in content
    formula, cat, notes = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    assert formula["name"] == '\'=cmd|"x",1.jpg'
    assert cat["name"] == "猫.jpg"
    assert (cat["status"], cat["model"], cat["weights"]) == ("done", "resnet18", "untrained")
    assert cat["label_1"] == page.locator("#rows .class-name").nth(1).inner_text()
    assert 0 < float(cat["confidence_3"]) < float(cat["confidence_1"]) < 5
    assert "label_4" not in cat
    assert (notes["status"], notes["error"], notes["label_1"]) == ("refused", "UnsupportedImage", "")
    assert "not supported" in notes["message"]

    with page.expect_download() as downloaded:
        page.get_by_role("button", name="Download JSON").click()
    formula, cat, notes = json.loads(downloaded.value.path().read_text(encoding="utf-8"))
    assert formula["name"] == '=cmd|"x",1.jpg'
    assert (cat["model"], cat["weights"], len(cat["predictions"])) == ("resnet18", "untrained", 10)
    assert notes["error"]["type"] == "UnsupportedImage"

    page.keyboard.press("Escape")
    page.get_by_label("Find names and labels").fill("猫")
    expect(names(page)).to_have_count(1)
    page.locator("#export-menu summary").click()
    expect(page.locator("#export-extent")).to_have_text("Filtered pictures: 1 of 3")
    page.get_by_role("button", name="Copy as text").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    header, line = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert line.split("\t")[header.split("\t").index("name")] == "猫.jpg"


def test_an_untrained_answer_is_called_so_wherever_it_appears(page: Page) -> None:
    page.get_by_label("Model").select_option("resnet18")
    page.set_input_files("#file-input", cats("one.jpg", "two.jpg"))
    card = page.get_by_role("article", name="one.jpg")
    expect(card.locator(".verdict")).to_have_text("A random guess")
    expect(card.locator(".meta").last).to_contain_text("resnet18 (untrained)")
    expect(page.get_by_role("log")).to_contain_text("a random guess of an untrained model")
    card.get_by_role("button", name="Copy label and confidence").click()
    expect(card.get_by_role("button", name="Copied")).to_be_visible()
    label = card.locator(".class-name").first.inner_text()
    assert re.fullmatch(rf"{re.escape(label)} \d+\.\d% \(untrained\)", page.evaluate("navigator.clipboard.readText()"))
    page.get_by_role("radio", name="Table").check()
    expect(page.locator("#rows .tag", has_text="untrained")).to_have_count(2)


def test_selecting_a_card_selects_no_button(answered: Page) -> None:
    answered.evaluate("getSelection().selectAllChildren(document.querySelector('.card'))")
    selected = answered.evaluate("getSelection().toString()")
    assert "cat.jpg" in selected
    assert "Show more" not in selected
    assert "Why?" not in selected


@pytest.mark.parametrize(("width", "height"), [(390, 664), (844, 390)], ids=["upright", "sideways"])
def test_a_phone_shows_the_table_without_scrolling_sideways(open_page: OpenPage, width: int, height: int) -> None:
    page = open_page(width=width, height=height)
    as_table(page, *cats("a photograph with quite a long name, as cameras and people make them.jpg", "b.jpg"), NOTES)
    for menu in ("#labels-menu", "#export-menu"):
        page.locator(f"{menu} summary").click()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        box = page.locator(f"{menu} .panel").bounding_box()
        assert box
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
    expect(page.locator("#rows .number:not(.time)").first).to_be_visible()
    page.keyboard.press("Escape")
    names(page).first.get_by_role("button").click()
    expect(page.get_by_role("article").first.locator(".predictions li")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") == width
