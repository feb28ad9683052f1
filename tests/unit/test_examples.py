"""The pictures that the page offers: small, without metadata, each with its licence wherever one may look for it."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from marserve.paths import EXAMPLES, PACKAGE
from tests.support import REPOSITORY

LISTED = json.loads((EXAMPLES / "list.json").read_text(encoding="utf-8"))
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
#: Licences under which anybody may pass a picture on, changed or not, and what each is called in examples/README.md.
FREE = {"CC0 1.0": "CC0 1.0", "CC BY 4.0": "CC BY 4.0", "Public domain": "public domain"}
MAX_SIDE_PIXELS = 800
#: All together, so that a clone and a wheel stay small.
MAX_BYTES = 400_000
#: What the page loads of each at first, and of all together, so that it stays quick over a slow line.
THUMBNAILS = PACKAGE / "web" / "static"
THUMBNAIL_PIXELS = (216, 162)
MAX_THUMBNAIL_BYTES = 60_000


def test_the_list_names_every_picture_but_the_cat() -> None:
    files = {file.name for file in EXAMPLES.glob("*.jpg")}
    assert {example["file"] for example in LISTED} == files - {"cat.jpg"}
    assert 5 <= len(LISTED) <= 8


@pytest.mark.parametrize("example", LISTED, ids=lambda example: str(example["file"]))
def test_an_example_has_words_in_both_languages_and_a_licence_that_the_readme_states(example: dict[str, str]) -> None:
    for field in ("name", "alt"):
        assert set(example[field]) == {"en", "zh"}
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{example['file']}` ")]
    assert example["author"] in row
    assert FREE[example["license"]] in row
    assert example["source_url"] in row
    if example["license"].startswith("CC"):
        assert example["license_url"] in row
    if example["license"] == "CC BY 4.0":  # asks for a word about changes
        assert "changed:" in row
        assert "changes" in example
    assert example["file"] in (REPOSITORY / "NOTICE").read_text(encoding="utf-8")


@pytest.mark.parametrize("example", LISTED, ids=lambda example: str(example["file"]))
def test_an_example_is_a_small_jpeg_without_metadata(example: dict[str, str]) -> None:
    with Image.open(EXAMPLES / example["file"]) as picture:
        assert picture.format == "JPEG"
        assert picture.mode == "RGB"
        assert max(picture.size) <= MAX_SIDE_PIXELS
        assert not {"exif", "xmp", "icc_profile", "photoshop", "comment"} & set(picture.info)


def test_all_examples_together_are_small() -> None:
    assert sum(file.stat().st_size for file in EXAMPLES.iterdir()) <= MAX_BYTES


def test_each_listed_example_has_a_thumbnail() -> None:
    files = {file.name: file for file in THUMBNAILS.glob("example-*.jpg")}
    assert set(files) == {f"example-{example['file']}" for example in LISTED}
    for file in files.values():
        with Image.open(file) as picture:
            assert picture.size == THUMBNAIL_PIXELS
            assert not {"exif", "xmp", "icc_profile", "photoshop", "comment"} & set(picture.info)
    assert sum(file.stat().st_size for file in files.values()) <= MAX_THUMBNAIL_BYTES
