"""What config.json and preprocessor_config.json beside weights decide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from marserve.archive.weights.architecture import skeleton
from marserve.archive.weights.beside import beside_sha256, class_names_beside, input_beside
from marserve.archive.weights.files import WeightsError, WeightsFile
from marserve.archive.weights.state_dict import load_state_dict
from marserve.handler.resnet18.description import Normalization, Preprocessing
from tests.cases.checkpoints import State, constant, hugging_face, save_tensors

USUAL = (Preprocessing(), Normalization())
CONVNEXT = {
    "image_processor_type": "ConvNextImageProcessor",
    "crop_pct": 0.875,
    "size": {"shortest_edge": 224},
    "resample": 3,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}


def said(folder: Path, **files: dict[str, Any]) -> Path:
    """The weights in ``folder``, beside JSON files."""
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder / "model.safetensors"


@pytest.mark.parametrize(
    ("preprocessor", "prepared"),
    [
        (CONVNEXT, (Preprocessing(interpolation="bicubic"), Normalization())),
        (CONVNEXT | {"size": 224, "resample": 2}, (Preprocessing(), Normalization())),  # microsoft/resnet-18's form
        (
            {"size": {"shortest_edge": 288}, "crop_size": {"height": 256, "width": 256}, "image_mean": [0.5] * 3},
            (Preprocessing(resize_size=288, crop_size=256), Normalization(mean=(0.5, 0.5, 0.5))),
        ),
        (CONVNEXT | {"do_normalize": False, "resample": 2}, (USUAL[0], Normalization(mean=(0, 0, 0), std=(1, 1, 1)))),
    ],
)
def test_pictures_are_prepared_as_transformers_did(
    tmp_path: Path, preprocessor: dict[str, Any], prepared: tuple[Preprocessing, Normalization]
) -> None:
    found, line = input_beside(said(tmp_path, preprocessor_config=preprocessor), USUAL)
    assert found == prepared
    assert line is not None
    assert line.endswith("as preprocessor_config.json says.")


def test_pictures_are_prepared_as_timm_did(tmp_path: Path) -> None:
    config = {"input_size": [3, 224, 224], "crop_pct": 0.95, "interpolation": "bicubic", "mean": [0.5] * 3}
    weights = said(tmp_path, config={"architecture": "resnet18", "pretrained_cfg": config})
    assert input_beside(weights, USUAL) == (
        (Preprocessing(resize_size=235, interpolation="bicubic"), Normalization(mean=(0.5, 0.5, 0.5))),
        "Pictures: to 235 pixels, bicubic, the middle 224, as config.json of timm says.",
    )


def test_other_files_of_these_names_change_nothing(tmp_path: Path) -> None:
    weights = said(tmp_path, config={"architecture": "my net", "size": 3})
    assert input_beside(weights, USUAL) == (USUAL, None)
    assert class_names_beside(tmp_path) is None
    weights.with_name("config.json").write_text("[")
    assert input_beside(weights, USUAL) == (USUAL, None)


@pytest.mark.parametrize(
    "preprocessor",
    [
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 224, "width": 224}},
        CONVNEXT | {"size": {"shortest_edge": 384}},
        CONVNEXT | {"resample": 1},
        CONVNEXT | {"image_mean": ["red"]},
    ],
)
def test_pictures_that_cannot_be_prepared_so_are_refused(tmp_path: Path, preprocessor: dict[str, Any]) -> None:
    weights = said(tmp_path, preprocessor_config=preprocessor)
    with pytest.raises(WeightsError, match="lies beside settings for pictures that cannot be used"):
        input_beside(weights, USUAL)


def test_class_names_of_a_folder_are_found(tmp_path: Path) -> None:
    said(tmp_path, config={"id2label": {"0": "cat"}})
    assert class_names_beside(tmp_path) == tmp_path / "config.json"


def test_what_lies_beside_weights_is_among_the_inputs_of_an_archive(tmp_path: Path) -> None:
    before = beside_sha256(said(tmp_path))
    assert beside_sha256(said(tmp_path, config={"model_type": "resnet"})) != before


RESNET = {"model_type": "resnet"}


@pytest.mark.parametrize(
    ("architecture", "config", "words"),
    [
        ("resnet18", {}, None),
        ("resnet18", RESNET, None),
        ("resnet50", RESNET | {"downsample_in_bottleneck": False}, None),
        ("resnet50", {}, "no config.json beside it tells where its blocks have their stride"),
        (
            "resnet50",
            RESNET | {"downsample_in_bottleneck": True},
            "config.json beside it says downsample_in_bottleneck",
        ),
        ("resnet18", RESNET | {"hidden_act": "gelu"}, "config.json beside it says hidden_act = 'gelu'"),
        ("resnet18", RESNET | {"downsample_in_first_stage": True}, "downsample_in_first_stage = True"),
    ],
)
def test_a_network_that_computes_something_else_is_refused(
    tmp_path: Path, architecture: str, config: dict[str, Any], words: str | None
) -> None:
    weights = said(tmp_path, config=config)
    state: State = constant(skeleton(architecture, 3))
    save_tensors(hugging_face(state), weights)
    file = WeightsFile(weights, "test", None, trained=True)
    if words is None:
        assert load_state_dict(file, architecture)[1] == 3
        return
    with pytest.raises(WeightsError) as refusal:
        load_state_dict(file, architecture)
    assert words in str(refusal.value)


def test_another_architecture_of_timm_is_refused(tmp_path: Path) -> None:
    weights = said(tmp_path, config={"architecture": "resnetblur18", "pretrained_cfg": {"input_size": [3, 224, 224]}})
    save_tensors(constant(skeleton("resnet18", 3)), weights)
    with pytest.raises(WeightsError, match=r"is of resnetblur18, as config\.json beside it says"):
        load_state_dict(WeightsFile(weights, "test", None, trained=True), "resnet18")
