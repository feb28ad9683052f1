"""Where the pictures are."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marserve.bulk.sources import Sources, find_sources, read_list, translate
from marserve.errors import MarserveError
from marserve.pictures import NoPictureFoundError, picture_suffixes

SUFFIXES = picture_suffixes(heic=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photographs"
    for name in ("1.jpg", "b/2.JPEG", "b/3.txt", "b/c/4.png", ".hidden/5.jpg", "b/.6.jpg", "s/a.tar", "s/b.parquet"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def find(*names: object, listed: tuple[str, ...] = (), output: object = "/nowhere") -> Sources:
    return find_sources(map(str, names), listed, SUFFIXES, output=str(output))


def test_a_folder_has_pictures_and_shards_each_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    found = find("photographs", folder / "1.jpg", folder / "b" / "*.JPEG", listed=("photographs/1.jpg", "gone.jpg"))
    assert found.files == {
        str(folder): [str(folder / name) for name in ("1.jpg", "b/2.JPEG", "b/c/4.png")],
        None: [str(folder.parent / "gone.jpg")],  # missed when it is read
    }
    assert found.shards == {str(folder / "s" / "a.tar"): 7, str(folder / "s" / "b.parquet"): 11}
    assert found.skipped == {".txt": 1}
    assert found.pictures == 4


def test_results_are_no_source(folder: Path) -> None:
    assert not find(folder, output=folder / "s").shards
    with pytest.raises(NoPictureFoundError, match="outside of --output"):
        find(folder / "s", output=folder / "s")


def test_an_object_store_is_listed_like_a_folder(folder: Path) -> None:
    address = f"file://{folder}"
    found = find(address)
    assert found.files == {None: [f"{address}/{name}" for name in ("1.jpg", "b/2.JPEG", "b/c/4.png")]}
    assert found.shards == {f"{address}/s/a.tar": 7, f"{address}/s/b.parquet": 11}
    assert found.skipped == {".txt": 1}
    assert find(f"{address}/b/**/*").files == {None: [f"{address}/b/2.JPEG", f"{address}/b/c/4.png"]}
    assert find(f"{address}/b/*").files == {None: [f"{address}/b/2.JPEG", f"{address}/b/3.txt"]}
    assert find(f"{address}/b/3.txt").files == {None: [f"{address}/b/3.txt"]}


@pytest.mark.parametrize("name", ["gone", "b/*.gif", "gone/**"])
def test_an_address_without_a_picture_is_named(folder: Path, name: str) -> None:
    with pytest.raises(NoPictureFoundError, match=re.escape(f"{folder}/{name}: no picture found")):
        find(f"file://{folder}/{name}")


def test_web_addresses_and_unknown_storage_are_refused() -> None:
    with pytest.raises(NoPictureFoundError, match="download them first"):
        find("https://example.org/a.jpg")
    with pytest.raises(MarserveError, match="floppy://a: no file system is known"):
        find("floppy://a/b")


@pytest.mark.parametrize(
    ("pattern", "matches", "others"),
    [
        ("*.jpg", ["a.jpg"], ["a/b.jpg", "a.jpgx"]),
        ("**/*.jpg", ["a.jpg", "a/b.jpg", "a/b/c.jpg"], ["a.png"]),
        ("a/**", ["a/b", "a/b/c"], ["b/a"]),
        ("a?[0-3].jp[!x]", ["ab2.jpg"], ["ab4.jpg", "ab2.jpx", "a/2.jpg"]),
        ("a[b.jpg", ["a[b.jpg"], ["ab.jpg"]),
    ],
)
def test_patterns_mean_what_they_mean_in_a_shell(pattern: str, matches: list[str], others: list[str]) -> None:
    assert [name for name in [*matches, *others] if re.fullmatch(translate(pattern), name)] == matches


def test_lists_are_text_or_parquet(tmp_path: Path) -> None:
    names = ["/a/1.jpg", "s3://b/2 3.jpg"]
    (tmp_path / "lines").write_text("\n".join(names) + "\n\n")
    (tmp_path / "nul").write_bytes(b"\0".join(name.encode() for name in names))
    pq.write_table(pa.table({"id": [1, 2], "path": names}), tmp_path / "list.parquet")
    for name in ("lines", "nul", "list.parquet"):
        assert read_list(str(tmp_path / name)) == names
        assert read_list(f"file://{tmp_path / name}") == names


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(MarserveError, match=r"--files-from .*gone"):
        read_list(str(tmp_path / "gone"))
    pq.write_table(pa.table({"image": [b"1"]}), tmp_path / "pictures.parquet")
    with pytest.raises(MarserveError, match="has no column of paths"):
        read_list(str(tmp_path / "pictures.parquet"))
