"""Where limits of the handler end: the last value that is taken, and the first that is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from marserve.handler.resnet18.answers import ClassActivationMaps
from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.engines.torch_engine import WEIGHTS_FILE
from marserve.handler.resnet18.errors import ImageTooLarge
from marserve.handler.resnet18.heif import count_pixels
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from tests.cases.heic import PLAIN

PREPROCESSING = Preprocessing(resize_size=40, crop_size=32)


@pytest.mark.needs("heif")
def test_a_heic_picture_of_exactly_the_limit_is_decoded() -> None:
    pixels = count_pixels(PLAIN).stored
    assert ImageDecoder(PREPROCESSING, ImageLimits(10**6, pixels)).decode(PLAIN).pixels.shape == (32, 32, 3)
    with pytest.raises(ImageTooLarge, match=f"more than the {pixels - 1:,}"):
        ImageDecoder(PREPROCESSING, ImageLimits(10**6, pixels - 1)).decode(PLAIN)


def test_a_map_says_how_much_each_place_speaks_for_the_class(tmp_path: Path) -> None:
    """Against it counts as nothing, and the most as 1; in 32 bits, as it is sent."""
    save_file({"fc.weight": np.array([[1, -1], [-1, 1]], dtype=np.float32)}, tmp_path / WEIGHTS_FILE)
    features = np.array([[[3, 0], [1, 0]], [[0, 2], [0, 0]]], dtype=np.float32)
    found = ClassActivationMaps(tmp_path, "fc.weight").compute(features, 0)
    np.testing.assert_array_equal(found, np.array([[1, 0], [1 / 3, 0]], dtype=np.float32))
    assert found.dtype == np.float32
