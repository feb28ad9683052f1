import json
from pathlib import Path

import pytest

from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.labels import Label, check_label_count, read_labels

IMAGENET = Path(__file__).parents[3] / "config" / "index_to_name.json"


@pytest.mark.parametrize(
    ("name", "content", "labels"),
    [
        ("names.txt", "cat\n dog \n", [Label(None, "cat"), Label(None, "dog")]),
        ("names.json", '["cat", "dog"]', [Label(None, "cat"), Label(None, "dog")]),
        ("names.json", '{"1": "dog", "0": "cat"}', [Label(None, "cat"), Label(None, "dog")]),
        ("names.json", '{"0": ["n02123045", "tabby"]}', [Label("n02123045", "tabby")]),
        ("names.txt", "虎斑猫\n", [Label(None, "虎斑猫")]),
    ],
)
def test_every_documented_form_is_read_in_class_order(
    tmp_path: Path, name: str, content: str, labels: list[Label]
) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    assert read_labels(file) == labels


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("names.json", "{", "not valid JSON"),
        ("names.json", "3", "holds no labels"),
        ("names.json", "[]", "holds no labels"),
        ("names.txt", "", "holds no labels"),
        ("names.txt", "cat\n\ndog\n", "class 1 is ''"),
        ("names.json", '{"0": "cat", "2": "dog"}', 'index "1" is missing'),
        ("names.json", '["cat", 7]', "class 1 is 7"),
        ("names.json", '[["a", "b", "c"]]', "class 0 is"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(tmp_path: Path, name: str, content: str, message: str) -> None:
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=message):
        read_labels(file)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_labels(tmp_path / "absent.txt")
    (tmp_path / "picture.txt").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_labels(tmp_path / "picture.txt")


def test_the_label_count_must_be_the_class_count(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"3 classes but names\.txt names 1.*--labels"):
        check_label_count([Label(None, "cat")], 3, tmp_path / "names.txt")


def test_imagenets_names_are_torchvisions_in_the_order_of_wordnet_ids() -> None:
    from torchvision.models import ResNet18_Weights

    labels = read_labels(IMAGENET)
    assert [label.name for label in labels] == ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    wnids = [label.wnid for label in labels]
    assert wnids == sorted(json.loads(IMAGENET.read_text())[str(i)][0] for i in range(1000))
    assert len(set(wnids)) == 1000
