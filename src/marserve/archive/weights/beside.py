"""What files beside weights say: config.json and preprocessor_config.json of transformers, config.json of timm."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from marserve.archive.weights.files import WeightsError
from marserve.handler.resnet18.description import Normalization, Preprocessing

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
#: Pillow's numbers, as transformers writes them, and timm's names.
_INTERPOLATIONS = {2: "bilinear", 3: "bicubic", "bilinear": "bilinear", "bicubic": "bicubic"}
#: From this size on, transformers' ConvNextImageProcessor squeezes whole pictures into a square.
_SQUEEZED_FROM = 384
#: What transformers' ResNetConfig may say and torchvision's ResNet does in one way only.
_TORCHVISION_DOES = {"downsample_in_bottleneck": False, "downsample_in_first_stage": False, "hidden_act": "relu"}


def read_beside(weights: Path, name: str) -> dict[str, Any]:
    """The JSON object in the file called ``name`` beside ``weights``; empty where there is none."""
    try:
        content = json.loads(weights.with_name(name).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def beside_sha256(weights: Path) -> str:
    """A digest of all that these files say."""
    said = [read_beside(weights, name) for name in (CONFIG, PREPROCESSOR)]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def class_names_beside(folder: Path) -> Path | None:
    """The file in ``folder`` that names the classes of the weights there, if any."""
    config = read_beside(folder / CONFIG, CONFIG)
    return folder / CONFIG if config.get("id2label") or config.get("label_names") else None


def check_arithmetic(architecture: str, weights: Path, *, of_transformers: bool, bottlenecks: bool) -> None:
    """Refuse a network with the same names and shapes as ``architecture``'s that computes something else.

    ``of_transformers`` says that its layers have the names of transformers' ResNet. Where there are ``bottlenecks``,
    that one has its stride in either of two layers of a block, and nothing but its config.json tells in which.
    """
    config = read_beside(weights, CONFIG)
    expected = f"weights of {architecture}"
    if "pretrained_cfg" in config and config.get("architecture", architecture) != architecture:  # timm's
        found = f"is of {config['architecture']}, as {CONFIG} beside it says"
        raise WeightsError.of_file(weights, found, expected)
    if not of_transformers:
        return
    if bottlenecks and config.get("model_type") != "resnet":
        found = f"has the names of transformers, and no {CONFIG} beside it tells where its blocks have their stride"
        raise WeightsError.of_file(weights, found, f"the folder with {CONFIG}")
    for setting, value in _TORCHVISION_DOES.items():
        if config.get(setting, value) != value:
            found = f"is of another ResNet: {CONFIG} beside it says {setting} = {config[setting]!r}"
            raise WeightsError.of_file(weights, found, f"{expected}, for which it is {value!r}")


def input_beside(
    weights: Path, usual: tuple[Preprocessing, Normalization]
) -> tuple[tuple[Preprocessing, Normalization], str | None]:
    """How pictures were prepared for ``weights``, as far as the files say, else as ``usual``; and a line about that."""
    config = read_beside(weights, CONFIG).get("pretrained_cfg")
    processor = read_beside(weights, PREPROCESSOR)
    try:
        if isinstance(config, dict):
            said, name = _of_timm(config), f"{CONFIG} of timm"
        elif processor:
            said, name = _of_transformers(processor), PREPROCESSOR
        else:
            return usual, None
        size, colors = usual[0].model_dump() | said, usual[1].model_dump()
        prepared = (
            Preprocessing.model_validate({field: size[field] for field in Preprocessing.model_fields}),
            Normalization.model_validate({field: said.get(field) or value for field, value in colors.items()}),
        )
    except (ValidationError, ValueError, TypeError, LookupError, ZeroDivisionError) as exc:
        raise WeightsError.of_file(weights, f"lies beside settings for pictures that cannot be used ({exc})") from exc
    resize, crop, how = prepared[0].resize_size, prepared[0].crop_size, prepared[0].interpolation
    return prepared, f"Pictures: to {resize} pixels, {how}, the middle {crop}, as {name} says."


def _of_timm(config: Mapping[str, Any]) -> dict[str, Any]:
    crop = config["input_size"][-1]
    return {
        "crop_size": crop,
        "resize_size": int(crop / config.get("crop_pct", 0.875)),
        "interpolation": _INTERPOLATIONS[config.get("interpolation", "bilinear")],
        "mean": config.get("mean"),
        "std": config.get("std"),
    }


def _of_transformers(processor: Mapping[str, Any]) -> dict[str, Any]:
    colors = {"mean": processor.get("image_mean"), "std": processor.get("image_std")}
    if processor.get("do_normalize") is False:
        colors = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    size, crop = processor.get("size"), processor.get("crop_size")
    shorter: Any = size.get("shortest_edge") if isinstance(size, dict) else size
    if isinstance(crop, dict):
        crop = crop["height"]
    if "crop_pct" in processor and isinstance(shorter, int):  # ConvNextImageProcessor
        crop, shorter = shorter, None if shorter >= _SQUEEZED_FROM else int(shorter / processor["crop_pct"])
    if not isinstance(shorter, int) or not isinstance(crop, int):
        kind = processor.get("image_processor_type", "its size")
        raise ValueError(f"{kind} squeezes pictures, and here the shorter side is scaled and the middle is taken")
    interpolation = _INTERPOLATIONS[processor.get("resample", 2)]
    return {"crop_size": crop, "resize_size": shorter, "interpolation": interpolation, **colors}
