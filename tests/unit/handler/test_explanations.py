"""Class activation maps against a reference that hooks into torch's ResNet18."""

from pathlib import Path

import numpy as np
import pytest
import torch

from marserve.archive.weights.locate import locate_weights
from marserve.archive.weights.state_dict import load_state_dict
from marserve.handler.resnet18.answers import ClassActivationMaps
from marserve.handler.resnet18.description import Description
from marserve.handler.resnet18.engines.openvino_engine import OpenVinoEngine
from marserve.handler.resnet18.network import build_network, find_pooled_head


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        ("resnet18", "fc.weight"),
        ("efficientnet_lite0", "_fc.weight"),
        ("efficientnet_b0", "classifier.1.weight"),
        ("mobilenet_v3_small", None),  # two linear layers after the average
        ("squeezenet1_0", None),  # no linear layer
        ("vit_b_16", None),  # no average
    ],
)
def test_a_head_is_recognised_by_what_it_computes(architecture: str, head: str | None) -> None:
    assert find_pooled_head(build_network(architecture, 10), 224) == head


def test_a_map_is_what_a_hook_into_torch_gives(resnet18_directory: Path) -> None:
    state_dict, _ = load_state_dict(locate_weights("resnet18", "untrained", report=print), "resnet18")
    network = build_network("resnet18", 1000)
    network.load_state_dict(state_dict)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    description = Description.read(resnet18_directory)
    mean = torch.tensor(description.normalization.mean).view(3, 1, 1)
    std = torch.tensor(description.normalization.std).view(3, 1, 1)
    seen: list[torch.Tensor] = []
    network.get_submodule("layer4").register_forward_hook(lambda _module, _inputs, output: seen.append(output))
    with torch.inference_mode():
        class_id = int(network((torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - mean) / std).argmax())
        evidence = torch.relu(torch.einsum("c,chw->hw", network.get_parameter("fc.weight")[class_id], seen[0][0]))
    expected = (evidence / evidence.max()).numpy()

    _, feature_map = OpenVinoEngine(resnet18_directory, "f32", threads=1).infer(pixels)
    assert feature_map is not None
    assert description.head is not None
    found = ClassActivationMaps(resnet18_directory, description.head).compute(feature_map[0], class_id)
    assert found.shape == (7, 7)
    assert np.abs(found - expected).max() <= 1e-4


def test_a_map_of_nothing_is_zero(resnet18_directory: Path) -> None:
    maps = ClassActivationMaps(resnet18_directory, "fc.weight")
    assert not maps.compute(np.zeros((512, 7, 7), dtype=np.float32), 0).any()
