"""Archives in int8: what they hold, when they are built again, what is refused; by real quantizations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from marserve.archive import int8
from marserve.archive.build import BuiltArchive, build, read_description
from marserve.archive.int8 import Accuracy, AccuracyError, QuantizationPlan
from marserve.archive.package import BuildOptions
from marserve.handler.resnet18.engines.factory import create_engine
from marserve.handler.resnet18.engines.openvino_engine import OpenVinoEngine
from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.network import build_network
from marserve.handler.resnet18.occupancy import Occupancy
from marserve.handler.resnet18.settings import HandlerSettings, ModelConfig
from tests.generated_pictures import write_pictures
from tests.support import report, unpack


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights, labels and pictures for an archive of three classes."""
    folder = tmp_path_factory.mktemp("int8")
    torch.manual_seed(0)
    torch.save(build_network("squeezenet1_1", 3).state_dict(), folder / "tiny.pth")
    (folder / "labels.txt").write_text("cat\ndog\nbird\n")
    write_pictures(folder / "pictures", 100)
    return folder


def options(folder: Path, **changed: object) -> BuildOptions:
    defaults: dict[str, object] = {
        "architecture": "squeezenet1_1",
        "weights": str(folder / "tiny.pth"),
        "labels": folder / "labels.txt",
        "model_name": "tiny",
        "precision": "int8",
        "calibration": folder / "pictures",
        "accept_accuracy_loss": True,
        "output": folder / "store",
    }
    return BuildOptions(**{**defaults, **changed})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def built(folder: Path) -> BuiltArchive:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "plans", lambda *_: iter([QuantizationPlan()]))
        return build(options(folder), report=report)


@pytest.fixture(scope="module")
def directory(built: BuiltArchive, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(built.path, tmp_path_factory.mktemp("unpacked"))


def test_the_description_tells_what_int8_costs(built: BuiltArchive) -> None:
    found = built.description.quantization
    assert found is not None
    assert built.description.precision == "int8"
    assert (found.calibration_pictures, found.judged_pictures, found.labelled_pictures) == (50, 50, 0)
    assert 0.5 < found.agreement <= 1
    assert (found.preset, found.bias_correction, found.excluded_layers, found.plans_tried) == ("mixed", "fast", (), 1)
    assert read_description(built.path) == built.description


def test_it_is_built_again_only_for_other_pictures(built: BuiltArchive, folder: Path, tmp_path: Path) -> None:
    assert not build(options(folder), report=report).rebuilt
    assert not build(options(folder, calibration=None, accept_accuracy_loss=False), report=report).rebuilt
    fewer = write_pictures(tmp_path / "pictures", 99)
    with pytest.raises(ConfigurationError, match="holds 99 different pictures"):
        build(options(folder, calibration=fewer), report=report)


def test_equal_inputs_give_an_equal_archive(built: BuiltArchive, folder: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(int8, "plans", lambda *_: iter([QuantizationPlan()]))
        again = build(options(folder, output=tmp_path), report=report)
    assert again.path.read_bytes() == built.path.read_bytes()


def test_without_pictures_the_first_build_says_which_option_is_missing(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"tiny\.mar must be built as int8: give --calibration DIR"):
        build(options(folder, calibration=None, output=tmp_path), report=report)


def test_too_great_a_loss_is_refused_and_nothing_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lossy = int8.Found(None, QuantizationPlan(), Accuracy(50, 0.9, 0, None, None), 1)
    monkeypatch.setattr(int8, "search", lambda *_, **__: lossy)
    with pytest.raises(AccuracyError, match=r"90\.0% of 50 pictures.*--accept-accuracy-loss"):
        build(options(folder, accept_accuracy_loss=False, output=tmp_path), report=report)
    assert not list(tmp_path.iterdir())


def test_random_weights_are_not_refused_for_what_they_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any rounding changes the first class of a network that has learnt nothing."""
    pictures = write_pictures(tmp_path / "pictures", 100)
    monkeypatch.setattr(int8, "TARGET_AGREEMENT", 2.0)
    archive = BuildOptions(
        architecture="squeezenet1_1",
        weights="untrained",
        precision="int8",
        calibration=pictures,
        output=tmp_path / "store",
    )
    found = build(archive, report=report).description
    assert found.quantization is not None
    assert found.quantization.plans_tried == 1
    assert not found.quantization.accuracy_loss_accepted


@pytest.mark.parametrize("precision", ["auto", "int8"])
def test_the_engine_computes_in_int8(directory: Path, precision: str) -> None:
    engine = OpenVinoEngine(directory, precision, threads=1)  # type: ignore[arg-type]
    assert engine.info.precision == "int8"
    probabilities, _ = engine.infer(np.zeros((2, 224, 224, 3), np.uint8))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_an_int8_archive_has_no_other_precision(directory: Path, precision: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"'{precision}', but this archive was built as int8"):
        OpenVinoEngine(directory, precision, threads=1)  # type: ignore[arg-type]


def test_int8_is_refused_of_an_archive_that_has_it_not(resnet18_directory: Path) -> None:
    with pytest.raises(
        ConfigurationError, match=r"not built as int8; use 'auto', or build it with .* --calibration DIR"
    ):
        OpenVinoEngine(resnet18_directory, "int8", threads=1)


def test_the_torch_engine_runs_an_int8_archive_with_its_unquantized_weights(
    built: BuiltArchive, directory: Path
) -> None:
    config = ModelConfig(handler=HandlerSettings(engine="torch", precision="int8", threads=1))
    engine = create_engine(directory, built.description, config, None, Occupancy(directory))
    assert engine.info.precision == "f32"


@pytest.mark.parametrize("option", [{"calibration": Path()}, {"accept_accuracy_loss": True}])
def test_options_of_int8_are_refused_without_it(option: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="go with --precision int8"):
        BuildOptions(precision="f32", **option)  # type: ignore[arg-type]
