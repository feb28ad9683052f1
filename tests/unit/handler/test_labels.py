import json
from pathlib import Path

import pytest

from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.labels import Label, check_label_count, read_labels

IMAGENET = Path(__file__).parents[3] / "config" / "index_to_name.json"


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ('{"1": "dog", "0": "cat"}', [Label(None, "cat"), Label(None, "dog")]),
        ('{"0": ["n02123045", "tabby"]}', [Label("n02123045", "tabby")]),
        ('{"0": "虎斑猫"}', [Label(None, "虎斑猫")]),
    ],
)
def test_what_a_build_writes_is_read_in_class_order(tmp_path: Path, content: str, labels: list[Label]) -> None:
    file = tmp_path / "index_to_name.json"
    file.write_text(content, encoding="utf-8")
    assert read_labels(file) == labels


@pytest.mark.parametrize(
    "content", ["{", "3", '"cat"', '["cat", "dog"]', '{"0": "cat", "2": "dog"}', '{"0": 7}', '{"0": ["a", "b", "c"]}']
)
def test_any_other_content_is_refused_by_the_name_of_the_file(tmp_path: Path, content: str) -> None:
    file = tmp_path / "index_to_name.json"
    file.write_text(content)
    with pytest.raises(ConfigurationError, match=r"cannot be read from index_to_name\.json"):
        read_labels(file)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_labels(tmp_path / "absent.json")
    (tmp_path / "picture.json").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_labels(tmp_path / "picture.json")


def test_the_label_count_must_be_the_class_count(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"3 classes but names\.txt names 1, from .cat. to .cat.: .*--labels"):
        check_label_count([Label(None, "cat")], 3, tmp_path / "names.txt")
    with pytest.raises(ConfigurationError, match=r"3 classes but names\.txt names 0: .*--labels"):
        check_label_count([], 3, tmp_path / "names.txt")


def test_imagenets_names_are_torchvisions_in_the_order_of_wordnet_ids() -> None:
    from torchvision.models import ResNet18_Weights

    labels = read_labels(IMAGENET)
    assert [label.name for label in labels] == ResNet18_Weights.IMAGENET1K_V1.meta["categories"]
    wnids = [label.wnid for label in labels]
    assert wnids == sorted(json.loads(IMAGENET.read_text())[str(i)][0] for i in range(1000))
    assert len(set(wnids)) == 1000
