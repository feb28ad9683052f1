"""This project's decoder and engine in place of the recipe's model, so that what is compared is the server."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Lock
from typing import cast

import numpy as np

from resnet18.answers import DECIMALS, top_classes
from resnet18.description import Description
from resnet18.engines.base import Engine
from resnet18.images import ImageDecoder, ImageLimits
from resnet18.labels import LABELS_FILE, read_labels
from resnet18.settings import HandlerSettings, Precision

#: Of a batch in any recipe.
MOST_PICTURES = 8


class OurModel:
    """The unpacked archive that ARCHIVE names: in PRECISION with THREADS inference threads, or in f16 on a GPU."""

    def __init__(self, device: str) -> None:
        directory, limits = Path(os.environ["ARCHIVE"]), HandlerSettings()
        description = Description.read(directory)
        self._decoder = ImageDecoder(
            description.preprocessing, ImageLimits(limits.max_image_bytes, limits.max_image_pixels)
        )
        threads = int(os.environ.get("THREADS", "1"))
        self._engine: Engine
        if device.startswith("cuda"):
            from resnet18.engines.torch_engine import TorchEngine

            gpu_id = int(device.partition(":")[2] or 0)
            self._engine = TorchEngine(directory, description, "auto", threads, gpu_id, batch_size=MOST_PICTURES)
        else:
            from resnet18.engines.openvino_engine import OpenVinoEngine

            self._engine = OpenVinoEngine(directory, cast("Precision", os.environ["PRECISION"]), threads)
        self._labels = read_labels(directory / LABELS_FILE)
        self._lock = Lock()

    def predict(self, pictures: list[bytes]) -> list[list[dict[str, object]]]:
        """The five best labels of each encoded picture. Threads decode side by side and compute one after another."""
        batch = np.stack([self._decoder.decode(picture).pixels for picture in pictures])
        with self._lock:
            probabilities, _ = self._engine.infer(batch)
        return [
            [
                {
                    "class_id": index,
                    "wnid": self._labels[index].wnid,
                    "label": self._labels[index].name,
                    "probability": round(probability, DECIMALS),
                }
                for index, probability in top_classes(row, 5)
            ]
            for row in probabilities
        ]
