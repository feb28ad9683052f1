"""What is refused before any work is done for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from marserve.archive import build as build_module
from marserve.archive.build import build, inputs_digest
from marserve.archive.package import BuildOptions
from marserve.handler.resnet18.errors import ConfigurationError


def test_int8_without_pictures_is_refused_before_weights_are_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build_module, "locate_weights", lambda *_, **__: pytest.fail("looked for weights"))
    with pytest.raises(ConfigurationError, match=r"resnet18\.mar must be built as int8: give --calibration DIR"):
        build(BuildOptions(precision="int8", output=tmp_path), report=lambda _: None)


def test_another_network_of_the_same_checkpoint_is_another_input() -> None:
    first, second = (BuildOptions(weights="run.ckpt", weights_key=key) for key in ("model", "ema"))
    assert inputs_digest(first, "0", b"", b"", None) != inputs_digest(second, "0", b"", b"", None)


@pytest.mark.parametrize("weights", [None, "untrained"])
def test_a_network_is_only_chosen_in_a_file(weights: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"--weights-key goes with --weights FILE\."):
        BuildOptions(weights=weights, weights_key="ema")
