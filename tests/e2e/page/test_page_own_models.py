"""Models of one's own, from their training to the page: a fine-tuned ResNet18 and another architecture side by side."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect

from tests.e2e.page.browsing import OpenPage
from tests.e2e.serving import ANSWER_S, Stack, run, stack_on_free_ports
from tests.patterns import CLASSES, picture, write_finetuned_network

pytestmark = pytest.mark.needs("chromium")

#: Pictures of each class that the network has not seen.
JUDGED = range(1000, 1020)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with the model ``patterns`` and, beside it, an untrained network of another architecture."""
    directory = tmp_path_factory.mktemp("own")
    weights, labels = write_finetuned_network(directory)
    stack = stack_on_free_ports()
    for arguments in (
        ["--model-name", "patterns", "--weights", str(weights), "--labels", str(labels), "--version", "2.0"],
        ["--model-name", "mobile", "--arch", "mobilenet_v3_small", "--weights", "untrained"],
    ):
        built = run(
            [sys.executable, "-m", "marserve", "build", "--output", str(directory), *arguments],
            stack.environment,
        )
        assert built.returncode == 0, built.stderr
    archives = [str(directory / f"{name}.mar") for name in ("patterns", "mobile")]
    try:
        yield stack.started("--workers", "1", "--archive", *archives)
    finally:
        stack.end()


@pytest.fixture(scope="module")
def web_url(own: Stack) -> str:
    return own.web


def best_label(stack: Stack, encoded: bytes, query: str = "") -> tuple[str, str]:
    """The best label for a picture, and which model and version gave it."""
    answer = requests.post(f"{stack.web}/predict{query}", files={"file": encoded}, timeout=ANSWER_S)
    assert answer.status_code == 200, answer.text
    return answer.json()[0]["label"], f"{answer.headers['X-Model']} {answer.headers['X-Model-Version']}"


def test_the_finetuned_network_is_right_about_new_pictures_of_its_classes(own: Stack) -> None:
    judged = [(name, best_label(own, picture(i, number))) for i, name in enumerate(CLASSES) for number in JUDGED]
    assert {model for _, (_, model) in judged} == {"patterns 2.0"}
    assert sum(name == label for name, (label, _) in judged) > 0.95 * len(judged)


def test_the_other_architecture_answers_by_its_name(own: Stack) -> None:
    _, model = best_label(own, picture(0, 0), "?model=mobile")
    assert model == "mobile 1.0"
    listed = requests.get(f"{own.web}/models", timeout=ANSWER_S).json()
    assert {entry["name"] for entry in listed["models"]} == {"patterns", "mobile"}


def test_the_page_shows_the_own_classes_and_offers_both_models(own: Stack, open_page: OpenPage, tmp_path: Path) -> None:
    file = tmp_path / "chequers.jpg"
    file.write_bytes(picture(2, JUDGED[0]))
    page = open_page()
    page.locator("input[type=file]").first.set_input_files(file)
    expect(page.locator(".class-name").first).to_have_text(CLASSES[2])
    expect(page.locator(".class-name").filter(has_text=CLASSES[1])).to_have_css("direction", "rtl")
    expect(page.locator("#model option")).to_have_count(2)
