"""Captured CUDA graphs: the choice of sizes anywhere, the answers where there is a GPU."""

from pathlib import Path

import numpy as np
import pytest

from marserve.handler.resnet18.description import Description
from marserve.handler.resnet18.engines.torch_engine import TorchEngine, captured_sizes


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])]
)
def test_every_batch_finds_a_graph_that_is_at_most_twice_its_size(batch_size: int, sizes: list[int]) -> None:
    assert captured_sizes(batch_size) == sizes
    for count in range(1, batch_size + 1):
        assert min(size for size in sizes if size >= count) < 2 * count


@pytest.mark.needs("nvidia-gpu")
@pytest.mark.parametrize(("precision", "tolerance"), [("f32", 1e-3), ("auto", 0.02), ("bf16", 0.05)])
def test_a_gpu_answers_as_the_cpu_does(resnet18_directory: Path, precision: str, tolerance: float) -> None:
    description = Description.read(resnet18_directory)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), dtype=np.uint8)
    reference = TorchEngine(resnet18_directory, description, "f32", 1, None).infer(pixels)[0]
    engine = TorchEngine(resnet18_directory, description, precision, 1, 0, batch_size=8)  # type: ignore[arg-type]
    for size in range(1, 9):
        probabilities, _ = engine.infer(pixels[:size])
        assert probabilities.shape == (size, 1000)
        assert np.abs(probabilities - reference[:size]).max() < tolerance
