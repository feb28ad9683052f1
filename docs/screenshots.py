"""Take the pictures of the page in docs/screenshots/ from a running service.

    .venv/bin/python docs/screenshots.py [--url http://127.0.0.1:5000] [PICTURE ...]

The pictures given are shown beside examples/cat.jpg. Needs Chromium (apt-get install chromium) and Playwright.
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "docs" / "screenshots"
CAT = REPOSITORY / "examples" / "cat.jpg"

DESKTOP = (1280, 860)
PHONE = (390, 844)
#: A palette, dithered, keeps each file under 250 KB.
COLORS = 160


def save(page: Page, name: str) -> None:
    page.mouse.move(0, 0)
    shot = Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")
    file = FOLDER / f"{name}.png"
    shot.quantize(COLORS, palette=shot.quantize(COLORS), dither=Image.Dither.FLOYDSTEINBERG).save(file, optimize=True)
    print(f"{file.relative_to(REPOSITORY)}: {file.stat().st_size // 1000} KB")


def take(browser: Browser, url: str, pictures: list[Path]) -> None:
    def visit(size: tuple[int, int], locale: str = "en-US", *, dark: bool = False) -> Page:
        page = browser.new_page(
            viewport={"width": size[0], "height": size[1]},
            locale=locale,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        page.goto(url)
        page.locator("#model option").first.wait_for(state="attached")
        return page

    def show(page: Page, files: list[Path]) -> None:
        page.set_input_files("#file-input", files)
        page.locator(f".cards:not(:has(.card[aria-busy=true])):has(.card:nth-child({len(files)}))").wait_for()

    save(visit(DESKTOP), "empty")
    for name, page in (
        ("map", visit(DESKTOP)),
        ("chinese", visit(DESKTOP, "zh-CN", dark=True)),
        ("phone", visit(PHONE)),
    ):
        show(page, [CAT])
        page.locator("[data-phase=done]").first.locator(".why-button").click()
        page.locator(".overlay:visible").wait_for()
        save(page, name)
    page = visit(DESKTOP)
    show(page, [CAT, *pictures])
    save(page, "results")
    page = visit(DESKTOP)
    page.route("**/classify?*", lambda route: route.fulfill(status=503, json={"type": "Overloaded"}), times=1)
    show(page, [CAT, REPOSITORY / "pyproject.toml"])
    save(page, "error")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:5000")
    parser.add_argument("pictures", metavar="PICTURE", type=Path, nargs="*")
    arguments = parser.parse_args()
    executable = shutil.which("chromium") or parser.error("no Chromium here: apt-get install chromium")
    FOLDER.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        take(browser, arguments.url, arguments.pictures)
        browser.close()


if __name__ == "__main__":
    main()
