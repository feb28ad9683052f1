"""Seeded weights and the skeletons of networks."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from marserve.archive.weights.architecture import architecture, architectures, skeleton
from marserve.archive.weights.files import WeightsFile
from marserve.archive.weights.state_dict import load_state_dict, seeded_state_dict
from marserve.handler.resnet18.network import build_network

UNTRAINED = WeightsFile(None, "untrained", None, trained=False)


def digest(state: dict[str, torch.Tensor]) -> str:
    content = hashlib.sha256()
    for name, tensor in state.items():
        content.update(name.encode() + tensor.numpy().tobytes())
    return content.hexdigest()


def test_untrained_weights_have_the_classes_of_imagenet_or_as_many_as_requested() -> None:
    state_dict, class_count = load_state_dict(UNTRAINED, "resnet18")
    assert class_count == 1000
    build_network("resnet18", 1000).load_state_dict(state_dict)
    build_network("resnet18", 3).load_state_dict(seeded_state_dict("resnet18", 3))


@pytest.mark.parametrize("architecture", ["resnet18", "efficientnet_lite0"])
def test_untrained_weights_do_not_depend_on_the_processor(architecture: str) -> None:
    program = (
        "from test_weights_untrained import *; "
        f"print(torch.backends.cpu.get_cpu_capability(), digest(seeded_state_dict({architecture!r}, 10)))"
    )
    plain_processor = {
        "ATEN_CPU_CAPABILITY": "default",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parent,
        env=os.environ | plain_processor,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["DEFAULT", digest(seeded_state_dict(architecture, 10))]


def test_untrained_answers_are_finite_spread_out_and_differ_between_pictures() -> None:
    network = build_network("resnet18", 1000)
    network.load_state_dict(load_state_dict(UNTRAINED, "resnet18")[0])
    pictures = torch.rand(3, 3, 224, 224, generator=torch.Generator().manual_seed(1)) * 4 - 2
    pictures[1] = pictures[1].flip(0) * torch.linspace(0, 1, 224)
    with torch.inference_mode():
        answers = torch.softmax(network(pictures), dim=1)
    assert torch.isfinite(answers).all()
    assert 0.002 < answers.max() < 0.5
    differences = torch.pdist(answers, p=torch.inf)
    assert differences.min() > 1e-4  # far more than the rounding of any engine


def test_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    seeded_state_dict("resnet18", 2)
    skeleton("swin_t", 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_every_architecture_shows_where_its_class_count_is() -> None:
    for name in architectures():
        axes = architecture(name).class_axes
        assert axes, name
        assert set(axes.values()) == {0}, name


def test_skeleton_matches_the_network_and_holds_no_large_tensor() -> None:
    bones, state = skeleton("resnet18", 9), build_network("resnet18", 9).state_dict()
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in bones.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in state.items()
    }
    assert bones["layer4.1.conv2.weight"].is_meta
