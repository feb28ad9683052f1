"""What `--labels` takes and refuses: the table in tests/cases/labels.py, and what holds for every list of names."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
import yaml

from marserve.archive.labels.read import IMAGENET, read_class_names
from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.labels import LABELS_FILE, Label, read_labels
from tests.cases.labels import CASES, LabelCase

#: What names are made of at random: scripts, an emoji of several characters, and what separates columns elsewhere.
PIECES = [*"abzÄéß猫虎חתقΩ", "n\u0303", "👩🏽‍🚒", *"0123456789", *" ,;:|=#-.()'\"[]{}<>&/\\", " cat", "7 UP"]
#: Of those, what a name of a text of one a line is made of.
LETTERS = [*"abzÄéß猫虎חתقΩ", "n\u0303", "👩🏽‍🚒", " cat", "_"]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_each_file_gives_its_names_or_a_refusal(case: LabelCase, tmp_path: Path) -> None:
    file = tmp_path / case.file
    file.write_bytes(case.content)
    if case.refusal:
        with pytest.raises(ConfigurationError, match=case.refusal) as refusal:
            read_class_names(file)
        assert case.file in str(refusal.value)
        assert str(refusal.value).isprintable()
        return
    found = read_class_names(file)
    assert found.labels == [Label(None, name) if isinstance(name, str) else Label(*name) for name in case.labels]
    assert f"Read {len(case.labels)} class names from {case.file} (" in found.account
    assert case.form in found.account


@pytest.mark.parametrize("case", [case for case in CASES.values() if case.labels], ids=lambda case: case.name)
def test_the_archive_gets_what_was_read_whatever_the_form(case: LabelCase, tmp_path: Path) -> None:
    file = tmp_path / case.file
    file.write_bytes(case.content)
    found = read_class_names(file)
    (tmp_path / LABELS_FILE).write_bytes(found.canonical())
    assert read_labels(tmp_path / LABELS_FILE) == found.labels
    assert read_class_names(tmp_path / LABELS_FILE).canonical() == found.canonical()


def _csv(rows: Sequence[Sequence[object]], delimiter: str = ",", quoting: Literal[0, 1] = csv.QUOTE_MINIMAL) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows(rows)
    return text.getvalue()


def _shuffled(names: Sequence[str], first: int = 0) -> list[tuple[int, str]]:
    pairs = list(enumerate(names, first))
    random.Random(len(names)).shuffle(pairs)  # noqa: S311 - no secret
    return pairs


#: How a file's name ends, and its text for a list of names; the first ones have no way to write every name.
PLAIN_FORMS: dict[str, tuple[str, Callable[[list[str]], str]]] = {
    "one a line": ("txt", "\n".join),
    "0 cat": ("txt", lambda names: "\n".join(f"{i} {name}" for i, name in enumerate(names))),
    "cat 0": ("txt", lambda names: "\n".join(f"{name} {i}" for i, name in enumerate(names))),
    "0: cat": ("txt", lambda names: "\n".join(f"{i}: {name}" for i, name in _shuffled(names))),
    "1. cat": ("txt", lambda names: "\n".join(f"{i}. {name}" for i, name in enumerate(names, 1))),
    "0\tcat": ("txt", lambda names: "\n".join(f"{i}\t{name}" for i, name in _shuffled(names))),
    "cat,0": ("txt", lambda names: "\n".join(f"{name},{i}" for i, name in _shuffled(names))),
    "a column with a header": ("csv", lambda names: "\n".join(["name", *names])),
}
FORMS: dict[str, tuple[str, Callable[[list[str]], str]]] = {
    "index,name": ("csv", lambda names: _csv([("index", "name"), *_shuffled(names)])),
    "class_id;label": ("csv", lambda names: _csv([("class_id", "label"), *_shuffled(names)], ";")),
    "name,index": (
        "csv",
        lambda names: _csv([("name", "no"), *((n, i) for i, n in _shuffled(names, 1))], ",", csv.QUOTE_ALL),
    ),
    "JSON list": ("json", json.dumps),
    "JSON list in a text": ("txt", lambda names: json.dumps(names, ensure_ascii=False, indent=1)),
    "JSON, index to name": ("json", lambda names: json.dumps(dict(_shuffled(names)))),
    "JSON, from 1": ("json", lambda names: json.dumps(dict(_shuffled(names, 1)))),
    "JSON, name to index": ("json", lambda names: json.dumps({name: i for i, name in _shuffled(names)})),
    "JSON lines": (
        "jsonl",
        lambda names: "\n".join(json.dumps({"id": i, "name": name}) for i, name in _shuffled(names)),
    ),
    "id2label": ("json", lambda names: json.dumps({"depths": [2], "id2label": dict(_shuffled(names))})),
    "class_to_idx": (
        "json",
        lambda names: json.dumps({"a": {"class_to_idx": {name: i for i, name in _shuffled(names)}}}),
    ),
    "Python list": ("txt", repr),
    "Python dict": ("txt", lambda names: repr(dict(_shuffled(names)))),
    "YAML list": ("yaml", lambda names: yaml.safe_dump(names, allow_unicode=True)),
    "YAML names": ("yaml", lambda names: yaml.safe_dump({"nc": len(names), "names": dict(_shuffled(names))})),
}


def _names(source: random.Random, pieces: Sequence[str], count: int) -> list[str]:
    names: dict[str, None] = {}
    while len(names) < count:
        name = "".join(source.choices(pieces, k=source.randint(1, 12))).strip()
        if name:
            names[name] = None
    return list(names)


@pytest.mark.parametrize("form", [*PLAIN_FORMS, *FORMS])
def test_any_list_of_names_comes_back_from_each_form(form: str, tmp_path: Path) -> None:
    source = random.Random(f"{form} 11")  # noqa: S311 - no secret
    suffix, write = {**PLAIN_FORMS, **FORMS}[form]
    for number in range(30):
        names = _names(source, PIECES if form in FORMS else LETTERS, source.choice([2, 3, 5, 10, 11, 30, 120]))
        text = write(names).replace("\r\n", "\n").replace("\n", source.choice(["\n", "\r\n", "\r"]))
        text += source.choice(["", "\n", "\r\n\r\n"])
        file = tmp_path / f"{number}.{suffix}"
        file.write_bytes(text.encode(source.choice(["utf-8", "utf-8-sig", "utf-16", "utf-32"])))
        assert [label.name for label in read_class_names(file).labels] == names, text


def test_damaged_files_are_read_or_refused_and_nothing_else(tmp_path: Path) -> None:
    source = random.Random(11)  # noqa: S311 - no secret
    cases = [case for case in CASES.values() if len(case.content) < 3000]
    for _ in range(1000):
        content = bytearray(source.choice(cases).content)
        for _ in range(source.randint(1, 4)):
            place, other = source.randrange(len(content) + 1), source.choice(cases).content
            start = source.randrange(len(other) + 1)
            content[place : place + source.randint(0, 5)] = other[start : start + source.randint(0, 30)]
        file = tmp_path / source.choice(["a.txt", "a.json", "a.csv", "a.tsv", "a.yaml", "a.jsonl", "names"])
        file.write_bytes(content)
        with suppress(ConfigurationError):
            assert all(label.name for label in read_class_names(file).labels)


def test_a_training_folder_gives_its_subfolders_as_torchvision_numbers_them(tmp_path: Path) -> None:
    from torchvision.datasets.folder import find_classes

    for name in ("dog", "Cat", "cat", "10", "9", "übel"):
        (tmp_path / name).mkdir()
    (tmp_path / "readme.txt").touch()
    expected = find_classes(str(tmp_path))[0]
    (tmp_path / ".ipynb_checkpoints").mkdir()
    found = read_class_names(tmp_path)
    assert [label.name for label in found.labels] == expected
    assert found.account == (f'Read 6 class names from {tmp_path.name} (subfolders, sorted): "10", "9" to "übel".')


def test_a_training_folder_of_wordnet_ids_gets_imagenets_names(tmp_path: Path) -> None:
    for wnid in ("n01443537", "n01440764"):
        (tmp_path / wnid).mkdir()
    assert read_class_names(tmp_path).labels == [Label("n01440764", "tench"), Label("n01443537", "goldfish")]


def test_folders_that_are_no_training_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="has no subfolders"):
        read_class_names(tmp_path)
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
    with pytest.raises(ConfigurationError, match='"train", "val" are no classes'):
        read_class_names(tmp_path)


def test_a_folder_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / b"k\xe4fer".decode("utf-8", "surrogateescape")).mkdir()
    with pytest.raises(ConfigurationError, match=r"class 1 \(folder 2\).*U\+DCE4"):
        read_class_names(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be read from absent\.txt"):
        read_class_names(tmp_path / "absent.txt")


def test_imagenets_own_list_is_known_by_its_names_and_two_cranes_are_told_apart(tmp_path: Path) -> None:
    """Hugging Face's lists of ImageNet give all synonyms, and call classes 134 and 517 ``crane``."""
    labels = read_labels(IMAGENET)
    names = [f"{label.name}, synonym" for label in labels]
    names[134] = names[517] = "crane"
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"id2label": dict(enumerate(names)), "label2id": dict.fromkeys(names, 0)}))
    found = read_class_names(file).labels
    assert [label.wnid for label in found] == [label.wnid for label in labels]
    assert [label.name for label in found] == names
    file.write_text(json.dumps([f"other {i}" if i < 133 else name for i, name in enumerate(names)]))
    with pytest.raises(ConfigurationError, match='classes 134 and 517 are both "crane"'):
        read_class_names(file)


def test_imagenets_file_of_this_project_is_written_as_it_is() -> None:
    assert json.loads(read_class_names(IMAGENET).canonical()) == json.loads(IMAGENET.read_text(encoding="utf-8"))
