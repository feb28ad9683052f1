"""Files, folders and patterns become pictures, each once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from marserve.pictures import NoPictureFoundError, describe_skipped, find_pictures
from tests.support import REPOSITORY

FILES = ["b/2.PNG", "b/c/3.webp", "b/.hidden/4.jpg", "b/notes.txt", "a.jpg", "odd[1].jpg", "b/.5.jpg"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["a.jpg"], ["a.jpg"]),
        (["b"], ["b/2.PNG", "b/c/3.webp"]),
        (["."], ["a.jpg", "odd[1].jpg", "b/2.PNG", "b/c/3.webp"]),
        (["b/notes.txt"], ["b/notes.txt"]),  # the server judges what a named file is
        (["*.jpg"], ["a.jpg", "odd[1].jpg"]),
        (["**/*"], ["a.jpg", "b/2.PNG", "b/c/3.webp", "odd[1].jpg"]),
        (["odd[1].jpg"], ["odd[1].jpg"]),
        (["b/c", "./a.jpg", "b", "a.jpg"], ["b/c/3.webp", "a.jpg", "b/2.PNG"]),
    ],
)
def test_names_become_pictures_each_once(folder: Path, names: list[str], found: list[str]) -> None:
    pictures = find_pictures(names, heic=False).pictures
    assert [picture.path for picture in pictures] == found
    assert all(picture.size == 7 for picture in pictures)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent.jpg", "absent.jpg does not exist."),
        ("/nope", "/nope does not exist."),
        ("x/*.jpg", "x/*.jpg: nothing has such a name."),
        ("empty", "empty: no picture found; the folder holds no file."),
        ("https://example.org/a.jpg", "curl -sL https://example.org/a.jpg | ./scripts/marserve classify -"),
    ],
)
def test_a_name_that_leads_nowhere_is_an_error_that_names_it(folder: Path, name: str, reason: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(
        NoPictureFoundError, match=f"{re.escape(reason.replace('./scripts', str(REPOSITORY / 'scripts')))}$"
    ):
        find_pictures(["a.jpg", name], heic=False)


def test_files_that_are_passed_over_are_counted_once_by_suffix(folder: Path) -> None:
    for name in ("b/IMG_2.DNG", "b/c/IMG_3.dng", "b/README", "b/IMG_3.MOV"):
        (folder / name).touch()
    found = find_pictures(["b", "b/c", "b/**/*", "b/README"], heic=False)
    assert found.foreign == 2
    assert describe_skipped(found.skipped) == "4 files skipped: 2 .dng (cannot be read: export as JPEG), 1 .mov, 1 .txt"


def test_heic_is_taken_where_it_can_be_read_and_counted_as_unread_elsewhere(folder: Path) -> None:
    for name in ("b/IMG_2.HEIC", "b/IMG_3.hif"):
        (folder / name).touch()
    assert not find_pictures(["b/2.PNG"], heic=True).has_heic

    taken = find_pictures(["b"], heic=True)
    assert taken.has_heic
    assert (len(taken.pictures), taken.foreign) == (4, 0)
    left = find_pictures(["b"], heic=False)
    assert (len(left.pictures), left.foreign) == (2, 2)
    assert '1 .heic (needs a decoder where the service runs: pip install "marserve[heif]"' in describe_skipped(
        left.skipped
    )
    assert find_pictures(["b/IMG_2.HEIC"], heic=False).has_heic  # named itself


def test_a_folder_of_unreadable_pictures_says_so(folder: Path) -> None:
    (folder / "phone").mkdir()
    (folder / "phone" / "IMG_1.HEIC").touch()
    (folder / "phone" / "IMG_2.DNG").touch()
    with pytest.raises(
        NoPictureFoundError, match=r"2 files skipped: 1 \.dng .*export as JPEG.* 1 \.heic .*marserve\[heif\]"
    ):
        find_pictures(["phone"], heic=False)
