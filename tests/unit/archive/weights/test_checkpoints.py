"""Checkpoints of training programs: the network in them is taken whole, or refused with what was found."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from marserve.archive.weights.architecture import skeleton
from marserve.archive.weights.files import WeightsError, WeightsFile
from marserve.archive.weights.state_dict import load_state_dict
from tests.cases.checkpoints import REFUSED, TAKEN, Refused, State, Taken, constant


@pytest.fixture(scope="module")
def state() -> State:
    """A ResNet18 for three classes."""
    return constant(skeleton("resnet18", 3))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in TAKEN])
def test_a_network_is_found_by_names_and_shapes(tmp_path: Path, state: State, case: Taken) -> None:
    file = tmp_path / "checkpoint.ckpt"
    case.save(case.make(state), file)
    told: list[str] = []
    loaded, class_count = load_state_dict(
        WeightsFile(file, "test", None, trained=True), "resnet18", case.key, report=told.append
    )
    assert class_count == 3
    assert list(loaded) == list(state)
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state.items())
    assert len(told) == len(case.told), told
    assert all(line.startswith(expected) for line, expected in zip(told, case.told, strict=True)), told


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in REFUSED])
def test_what_is_no_single_network_of_the_architecture_is_refused(tmp_path: Path, state: State, case: Refused) -> None:
    file = tmp_path / "checkpoint.ckpt"
    case.save(case.make(state), file)
    with pytest.raises(WeightsError) as refusal:
        load_state_dict(WeightsFile(file, "test", None, trained=True), "resnet18", case.key)
    assert case.words in str(refusal.value)
