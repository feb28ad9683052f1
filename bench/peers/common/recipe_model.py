"""ResNet18 as torchvision documents it ("Models and pre-trained weights"): what a peer's recipe serves."""

from __future__ import annotations

import io
import os

import torch
from PIL import Image
from torchvision.models import ResNet18_Weights, resnet18


class RecipeModel:
    """Eager torch, with the weights' own transforms and class names.

    On the CPU in f32. On a GPU in half precision and channels last (PyTorch: "Performance Tuning Guide"); decoding and
    transforms stay on the CPU.
    """

    def __init__(self, device: str) -> None:
        """Load the state dict that the variable WEIGHTS names; the official one cannot be had everywhere."""
        weights = ResNet18_Weights.IMAGENET1K_V1
        self._model = resnet18()
        state_dict = torch.load(os.environ["WEIGHTS"])  # nosec B614 # our own weights, and as the recipe has it
        self._model.load_state_dict(state_dict)
        self._model.eval()
        self._device = device
        self._dtype = torch.float16 if device.startswith("cuda") else torch.float32
        if device != "cpu":
            self._model.to(device, self._dtype, memory_format=torch.channels_last)
        self._preprocess = weights.transforms()
        self._categories = weights.meta["categories"]

    def predict(self, pictures: list[bytes]) -> list[list[dict[str, object]]]:
        """The five best labels of each encoded picture."""
        images = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures]
        batch = torch.stack([self._preprocess(image) for image in images])
        with torch.no_grad():
            probabilities = self._model(batch.to(self._device, self._dtype)).float().softmax(dim=1)
        values, classes = probabilities.topk(5)
        return [
            [
                {"label": self._categories[class_id], "probability": value}
                for value, class_id in zip(values[picture].tolist(), classes[picture].tolist(), strict=True)
            ]
            for picture in range(len(pictures))
        ]
