"""The labelled photographs, and what eager torch says of them after torchvision's documented transform."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torchvision.transforms import v2

from marserve.archive.weights.locate import locate_weights
from marserve.archive.weights.state_dict import load_state_dict
from marserve.handler.resnet18.network import EFFICIENTNET_LITE0, build_network
from tests.support import report

BATCH = 20


def true_class(photograph: Path) -> int:
    """The class id at the beginning of the file's name."""
    return int(photograph.name.partition("_")[0])


def reference_classes(photographs: Sequence[Path]) -> list[int]:
    """The first class of each photograph by the demonstration network in eager torch, f32."""
    prepare = v2.Compose(
        [
            v2.PILToTensor(),
            v2.Resize(256, antialias=True),
            v2.CenterCrop(224),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([127 / 255] * 3, [128 / 255] * 3),
        ]
    )
    network = build_network(EFFICIENTNET_LITE0, 1000)
    weights = locate_weights(EFFICIENTNET_LITE0, None, report=report)
    network.load_state_dict(load_state_dict(weights, EFFICIENTNET_LITE0)[0])
    classes: list[int] = []
    with torch.inference_mode():
        for start in range(0, len(photographs), BATCH):
            batch = [prepare(Image.open(path).convert("RGB")) for path in photographs[start : start + BATCH]]
            classes += network(torch.stack(batch)).argmax(1).tolist()
    return classes
