"""A network of one's own for tests: three classes of generated pictures, and a ResNet18 that learned to tell them."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from marserve.archive.weights.state_dict import seeded_state_dict
from marserve.handler.resnet18.network import build_network

#: Names that must reach an answer and the page as they are.
CLASSES = ("horizontal stripes", "פסים אנכיים", '<b>chequers</b>, 7 × "7" & more')
SIDE = 224


def picture(class_id: int, number: int) -> bytes:
    """A JPEG of that class in two colors, with stripes of some width, shifted, and noise; each number another one."""
    random = np.random.default_rng((class_id, number))
    width, shift = random.integers(8, 24), random.integers(0, 48, 2)
    bands = [((np.arange(SIDE) + shift[axis]) // width) % 2 for axis in (0, 1)]
    rows, columns = bands[0][:, None], bands[1][None, :]
    first = {0: rows + 0 * columns, 1: columns + 0 * rows, 2: rows ^ columns}[class_id]
    dark, light = random.integers(0, 96, 3), random.integers(160, 256, 3)
    pixels = np.where(first[:, :, None] == 1, light, dark) + random.normal(0, 12, (SIDE, SIDE, 3))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def write_finetuned_network(directory: Path, pictures_per_class: int = 50) -> tuple[Path, Path]:
    """Train a new head on what a seeded ResNet18 sees in pictures; answers the state dict and its class names."""
    network = build_network("resnet18", len(CLASSES))
    seeded = seeded_state_dict("resnet18", len(CLASSES))
    network.load_state_dict(seeded)
    head = network.get_submodule("fc")
    assert isinstance(head, torch.nn.Linear)
    network.set_submodule("fc", torch.nn.Identity())
    truth = torch.arange(len(CLASSES)).repeat_interleave(pictures_per_class)
    numbers = range(pictures_per_class)
    batch = torch.stack([_normalized(picture(int(class_id), n % len(numbers))) for n, class_id in enumerate(truth)])
    with torch.inference_mode():
        seen = torch.cat([network(part) for part in torch.split(batch, 10)])
    _train(head, seen.clone(), truth)
    weights, labels = directory / "finetuned.pth", directory / "names.csv"
    torch.save({**seeded, "fc.weight": head.weight.detach(), "fc.bias": head.bias.detach()}, weights)
    with labels.open("w", encoding="utf-16", newline="") as file:
        csv.writer(file).writerows([("index", "name"), *reversed(list(enumerate(CLASSES)))])
    return weights, labels


def _train(head: torch.nn.Linear, seen: torch.Tensor, truth: torch.Tensor) -> None:
    """Logistic regression on standardized features, whose scale then goes into the head."""
    mean, deviation = seen.mean(0), seen.std(0) + 1e-6
    standardized = (seen - mean) / deviation
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=100)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(head(standardized), truth) + 1e-3 * head.weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        head.weight /= deviation
        head.bias.sub_(head.weight @ mean)


def _normalized(encoded: bytes) -> torch.Tensor:
    pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(encoded)).resize((256, 256)).crop((16, 16, 240, 240))))
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return ((pixels / 255 - mean) / deviation).permute(2, 0, 1)
