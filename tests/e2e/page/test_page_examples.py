"""What the page offers to try: example pictures, and the request as code."""

from __future__ import annotations

import json

import pytest
import requests
from playwright.sync_api import Page, expect

from marserve.paths import EXAMPLES
from tests.e2e.page.browsing import OpenPage

pytestmark = pytest.mark.needs("chromium")

LISTED = json.loads((EXAMPLES / "list.json").read_text(encoding="utf-8"))
#: What EfficientNet-Lite0 sees in those that are not hard on purpose, in their order.
LABELS = {
    "tiger.jpg": "tiger",
    "espresso.jpg": "espresso",
    "dogs.jpg": "cocker spaniel",
    "bee.jpg": "bee",
    "bridge.jpg": "suspension bridge",
}
#: Percent: with less, the answer would not be clear at a glance.
CLEAR = 60


def test_every_example_but_the_hard_one_is_answered_clearly(web_url: str) -> None:
    answers = {}
    for example in LISTED:
        picture = requests.get(f"{web_url}/examples/{example['file']}", timeout=60).content
        reply = requests.post(f"{web_url}/predict?model=efficientnet_lite0", data=picture, timeout=60)
        answers[example["file"]] = reply.json()[0]
    clear = {file: answer["label"] for file, answer in answers.items() if answer["confidence"] >= CLEAR}
    assert list(clear.items()) == list(LABELS.items())
    assert [example["file"] for example in LISTED if example.get("hard")] == ["raccoon.jpg"]
    assert answers["raccoon.jpg"]["confidence"] < CLEAR


def test_examples_stay_and_each_is_one_press_away(page: Page) -> None:
    examples = page.get_by_role("group", name="Or try one of these:").get_by_role("button")
    expect(examples).to_have_count(len(LISTED))
    for file, name in (("tiger.jpg", "A tiger in the snow"), ("bee.jpg", "A bee on a purple aster")):
        examples.filter(has=page.get_by_alt_text(name)).focus()
        page.keyboard.press("Enter")
        card = page.get_by_role("article", name=file)
        expect(card).to_be_focused()
        expect(card.locator(".class-name").first).to_have_text(LABELS[file])
        expect(card).to_be_focused()
    expect(examples).to_have_count(len(LISTED))
    expect(examples.last).to_be_visible()


def test_an_example_is_answered_at_once_where_pictures_wait_to_be_started(page: Page) -> None:
    page.get_by_role("checkbox", name="Start automatically").uncheck()
    page.get_by_role("button", name="A tiger in the snow").click()
    expect(page.locator(".class-name").first).to_have_text("tiger")


def test_examples_have_names_authors_and_licences_in_chinese(open_page: OpenPage) -> None:
    page = open_page(locale="zh-CN", width=390, height=664)
    tiger = page.get_by_role("button", name="雪地里的一只老虎")
    expect(tiger).to_contain_text("老虎")
    expect(page.get_by_role("button", name="浣熊")).to_contain_text("难题")
    page.get_by_text("示例图片：作者与许可").click()
    lines = page.locator("#credits li")
    expect(lines).to_have_count(len(LISTED))
    for example, line in zip(LISTED, lines.all(), strict=True):
        expect(line).to_contain_text(f"{example['name']['zh']}：{example['author']}，")
        addresses = [link.get_attribute("href") for link in line.get_by_role("link").all()]
        assert addresses == [example["source_url"], example["license_url"]]


def test_examples_that_cannot_be_had_leave_the_page_usable(open_page: OpenPage) -> None:
    page = open_page(
        init_script="const get = fetch; fetch = (to, ...rest) => get(`${to}`.replace('list.json', 'x'), ...rest)"
    )
    expect(page.locator("#gallery")).to_be_hidden()
    expect(page.get_by_role("button", name="Choose pictures")).to_be_visible()


def test_code_is_offered_in_tabs_that_arrow_keys_reach(page: Page, web_url: str) -> None:
    code = page.get_by_role("tabpanel")
    expect(page.get_by_role("tab", selected=True)).to_have_text("curl")
    expect(code.locator("code")).to_have_text(f'curl -F file=@cat.jpg "{web_url}/predict?top_k=3"')
    page.get_by_role("tab", name="curl").focus()
    for key, name in (
        ("ArrowRight", "Python"),
        ("End", "tritonclient"),
        ("ArrowRight", "curl"),
        ("ArrowLeft", "tritonclient"),
        ("Home", "curl"),
        ("ArrowRight", "Python"),
    ):
        page.keyboard.press(key)
        chosen = page.get_by_role("tab", selected=True)
        expect(chosen).to_have_text(name)
        expect(chosen).to_be_focused()
        expect(code).to_have_accessible_name(name)
    expect(code.locator("code")).to_contain_text(f'"{web_url}/predict?top_k=3"')
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()").startswith("import requests\n")


def test_code_follows_the_chosen_model_the_key_and_the_language(page: Page) -> None:
    code = page.get_by_role("tabpanel").locator("code")
    page.route("**/classify?*", lambda route: route.fulfill(status=401, json={"type": "ApiKeyRequired"}), times=1)
    page.get_by_role("button", name="A tiger in the snow").click()
    page.get_by_label("API key").fill("a-key-of-0123456789")
    page.get_by_role("button", name="Use this key").click()
    page.select_option("#model", "resnet18")
    expect(code).to_contain_text('-H "X-API-Key: $API_KEY"')
    expect(code).to_contain_text("model=resnet18")
    for tab, model in (("Marserve client", 'model="resnet18"'), ("tritonclient", '    "resnet18",')):
        page.get_by_role("tab", name=tab).click()
        expect(code).to_contain_text(model)
        expect(code).to_contain_text('os.environ["API_KEY"]')
    page.get_by_role("button", name="中文").click()
    expect(page.locator("#sample-note")).to_contain_text("密钥从环境变量 API_KEY 中读取。")
    assert "a-key-of-0123456789" not in page.locator(".program").inner_text()
