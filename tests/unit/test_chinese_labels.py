"""``config/labels.zh.json``: the Simplified Chinese name of every ImageNet class, keyed by WordNet id."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "config"

#: Words Chinese itself writes with Latin letters; every other name is Chinese characters only.
NAMES_WITH_LATIN_LETTERS = {"CD播放机", "iPod播放器", "T恤衫", "福特T型车"}

#: Current simplified characters for animals that GB 2312 (1980) left out.
CHARACTERS_OUTSIDE_GB2312 = set("魟鹀鸮鹟䴕鳽狆獴羱")


def read_entries() -> list[tuple[str, str]]:
    """The file's entries in file order; unlike a dict, the list keeps a repeated key."""
    entries: list[tuple[str, str]] = json.loads(
        (CONFIG / "labels.zh.json").read_text(encoding="utf-8"), object_pairs_hook=list
    )
    return entries


def test_every_class_is_named_once_and_in_class_order() -> None:
    index_to_name = json.loads((CONFIG / "index_to_name.json").read_text(encoding="utf-8"))
    expected = [index_to_name[str(class_id)][0] for class_id in range(1000)]
    assert [wnid for wnid, _ in read_entries()] == expected


def test_no_two_classes_share_a_name() -> None:
    counts = Counter(name for _, name in read_entries())
    assert [name for name, count in counts.items() if count > 1] == []


def test_names_are_chinese_characters_without_spaces_or_other_scripts() -> None:
    not_chinese = {name for _, name in read_entries() if not re.fullmatch(r"[\u3400-\u9fff]+", name)}
    assert not_chinese == NAMES_WITH_LATIN_LETTERS


def test_names_are_written_in_simplified_characters() -> None:
    # GB 2312 is the basic set of simplified characters: a traditional form falls outside it.
    characters = {character for _, name in read_entries() for character in name}
    outside = {character for character in characters if not character.encode("gb2312", errors="ignore")}
    assert outside == CHARACTERS_OUTSIDE_GB2312


@pytest.mark.parametrize(
    ("wnid", "name"),
    [
        pytest.param("n01440764", "丁鲷", id="the first class"),
        pytest.param("n01608432", "鸢", id="kite the bird, not the toy"),
        pytest.param("n02012849", "鹤", id="crane the bird"),
        pytest.param("n03126707", "起重机", id="crane the machine"),
        pytest.param("n02963159", "开襟毛衣", id="cardigan the garment"),
        pytest.param("n02113186", "卡迪根柯基犬", id="Cardigan the dog"),
        pytest.param("n03710637", "连体紧身衣", id="maillot for dancers"),
        pytest.param("n03710721", "连体泳衣", id="maillot for swimming"),
        pytest.param("n02892201", "纪念牌匾", id="brass the tablet, not the metal"),
        pytest.param("n04008634", "炮弹", id="projectile, which is not self-propelled as a missile"),
        pytest.param("n06359193", "网页", id="web site, of which a picture shows a page"),
        pytest.param("n12620546", "蔷薇果", id="hip of the rose"),
        pytest.param("n15075141", "卫生纸", id="the last class"),
    ],
)
def test_ambiguous_english_names_are_translated_by_their_wordnet_sense(wnid: str, name: str) -> None:
    assert dict(read_entries())[wnid] == name
