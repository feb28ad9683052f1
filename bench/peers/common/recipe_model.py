"""ResNet18 as torchvision documents it ("Models and pre-trained weights"): what a peer's recipe serves."""

from __future__ import annotations

import io
import os

import torch
from PIL import Image
from torchvision.models import ResNet18_Weights, resnet18


class RecipeModel:
    """Eager torch in f32, with the weights' own transforms and class names."""

    def __init__(self) -> None:
        """Load the state dict that the variable WEIGHTS names; the official one cannot be had everywhere."""
        weights = ResNet18_Weights.IMAGENET1K_V1
        self._model = resnet18()
        self._model.load_state_dict(torch.load(os.environ["WEIGHTS"]))
        self._model.eval()
        self._preprocess = weights.transforms()
        self._categories = weights.meta["categories"]

    def predict(self, pictures: list[bytes]) -> list[list[dict[str, object]]]:
        """The five best labels of each encoded picture."""
        images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
        batch = torch.stack([self._preprocess(image) for image in images])
        with torch.no_grad():
            probabilities = self._model(batch).softmax(dim=1)
        values, classes = probabilities.topk(5)
        return [
            [
                {"label": self._categories[class_id], "probability": value}
                for value, class_id in zip(values[picture].tolist(), classes[picture].tolist(), strict=True)
            ]
            for picture in range(len(pictures))
        ]
