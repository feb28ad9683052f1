"""Take the pictures of the page in docs/screenshots/ from a running service.

    .venv/bin/python docs/screenshots.py [--url http://127.0.0.1:5000] [PICTURE ...]

The pictures given, or some of the examples, are shown beside examples/cat.jpg. Needs Chromium
(apt-get install chromium), Playwright and a Chinese font (apt-get install fonts-noto-cjk).
"""

from __future__ import annotations

import argparse
import io
import shutil
import tempfile
from pathlib import Path

from PIL import Image, ImageOps
from playwright.sync_api import Browser, Page, sync_playwright

REPOSITORY = Path(__file__).resolve().parent.parent
FOLDER = REPOSITORY / "docs" / "screenshots"
EXAMPLES = REPOSITORY / "examples"
CAT = EXAMPLES / "cat.jpg"
#: What is shown beside it.
OTHERS = [EXAMPLES / f"{name}.jpg" for name in ("bee", "espresso", "bridge")]
#: What the camera is held at.
TIGER = EXAMPLES / "tiger.jpg"

DESKTOP = (1280, 860)
PHONE = (390, 844)
#: A palette, dithered, keeps each file near 400 KB or below.
COLORS = 160


def save(page: Page, name: str) -> None:
    page.mouse.move(0, 0)
    for card in page.locator(".card:not(.no-preview)").all():  # the preview of each is made when it comes near
        card.scroll_into_view_if_needed()
        card.locator("img").evaluate("image => image.decode()")
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
    page.route("**/classify?*", lambda route: route.fulfill(status=500, json={"type": "InferenceFailed"}), times=1)
    show(page, [CAT, REPOSITORY / "pyproject.toml"])
    save(page, "error")
    page = visit(PHONE, dark=True)
    page.locator("#camera").click()
    page.locator("#camera-shutter:enabled").wait_for()
    page.locator("#camera-live").check()
    page.locator("#live-answer .class-name").first.wait_for()
    save(page, "live")


def write_video(picture: Path, video: Path) -> None:
    """What Chromium shows as its camera's: two frames of Motion JPEG, again and again."""
    frame = io.BytesIO()
    ImageOps.fit(Image.open(picture).convert("RGB"), (960, 1280)).save(frame, "JPEG", quality=90)
    video.write_bytes(2 * frame.getvalue())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:5000")
    parser.add_argument("pictures", metavar="PICTURE", type=Path, nargs="*")
    arguments = parser.parse_args()
    executable = shutil.which("chromium") or parser.error("no Chromium here: apt-get install chromium")
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        video = Path(folder) / "camera.mjpeg"
        write_video(TIGER, video)
        camera = [
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-video-capture={video}",
        ]
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", *camera]
        )
        take(browser, arguments.url, arguments.pictures or OTHERS)
        browser.close()


if __name__ == "__main__":
    main()
