"""Every engine against eager torch, on the same uint8 pictures."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marserve.archive.weights.locate import locate_weights
from marserve.archive.weights.state_dict import load_state_dict
from marserve.handler.resnet18.description import Description
from marserve.handler.resnet18.engines import factory, torch_engine
from marserve.handler.resnet18.engines.base import Engine
from marserve.handler.resnet18.engines.factory import ElasticEngine, create_engine
from marserve.handler.resnet18.engines.openvino_engine import OpenVinoEngine
from marserve.handler.resnet18.engines.torch_engine import TorchEngine
from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.network import build_network
from marserve.handler.resnet18.occupancy import Occupancy
from marserve.handler.resnet18.settings import HandlerSettings, ModelConfig

#: For f32, where only the order of additions differs.
PARITY = 1e-5


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    """Eight pictures of noise at different contrasts, so that their answers differ."""
    random = np.random.default_rng(0)
    contrast = np.linspace(0.2, 1, 8).reshape(8, 1, 1, 1)
    return (random.integers(0, 256, (8, 224, 224, 3)) * contrast).astype(np.uint8)


@pytest.fixture(scope="module")
def reference(pixels: np.ndarray) -> np.ndarray:
    """What eager torch answers, from the weights themselves and not from an archive; probabilities (8, 1000)."""
    state_dict, _ = load_state_dict(locate_weights("resnet18", "untrained", report=print), "resnet18")
    network = build_network("resnet18", 1000)
    network.load_state_dict(state_dict)
    normalized = (
        torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    ) / (torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))
    with torch.inference_mode():
        return torch.softmax(network(normalized), dim=1).numpy()


@pytest.fixture(scope="module", params=["openvino", "torch", "elastic"])
def engine(request: pytest.FixtureRequest, resnet18_directory: Path) -> Engine:
    if request.param == "elastic":
        return elastic_engine(resnet18_directory, Occupancy(resnet18_directory))
    config = ModelConfig(handler=HandlerSettings(engine=request.param, precision="f32", threads=1))
    return engine_of(resnet18_directory, config)


def elastic_engine(directory: Path, occupancy: Occupancy) -> ElasticEngine:
    return ElasticEngine(OpenVinoEngine(directory, "f32", 1), OpenVinoEngine(directory, "f32", 2), occupancy)


def engine_of(directory: Path, config: ModelConfig, gpu_id: int | None = None) -> Engine:
    return create_engine(directory, Description.read(directory), config, gpu_id, Occupancy(directory))


def test_the_reference_tells_pictures_apart(reference: np.ndarray) -> None:
    """Otherwise parity would mean nothing."""
    assert np.abs(reference[0] - reference[7]).max() > 100 * PARITY
    assert reference.max() < 0.9


def test_every_engine_answers_as_eager_torch_does(engine: Engine, pixels: np.ndarray, reference: np.ndarray) -> None:
    probabilities, _ = engine.infer(pixels)
    assert probabilities.dtype == np.float32
    assert np.abs(probabilities - reference).max() <= PARITY
    assert probabilities.sum(axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size", range(1, 9))
def test_an_answer_does_not_depend_on_its_batch_mates(engine: Engine, pixels: np.ndarray, size: int) -> None:
    together, _ = engine.infer(pixels[:size])
    alone = np.concatenate([engine.infer(pixels[index : index + 1])[0] for index in range(size)])
    assert np.abs(together - alone).max() <= 1e-6


def test_an_answer_survives_the_next_call(engine: Engine, pixels: np.ndarray) -> None:
    first, _ = engine.infer(pixels[:1])
    kept = first.copy()
    engine.infer(pixels[1:2])
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("alone_for", [0, 1, 3])
def test_pictures_keep_their_order_when_another_worker_begins(
    resnet18_directory: Path, pixels: np.ndarray, reference: np.ndarray, alone_for: int
) -> None:
    class Others(Occupancy):
        asked = 0

        def alone(self) -> bool:
            self.asked += 1
            return self.asked <= alone_for

    engine = elastic_engine(resnet18_directory, Others(resnet18_directory))
    probabilities, feature_maps = engine.infer(pixels[:3])
    assert np.abs(probabilities - reference[:3]).max() <= PARITY
    _, expected = OpenVinoEngine(resnet18_directory, "f32", 1).infer(pixels[:3])
    assert feature_maps is not None
    assert expected is not None
    np.testing.assert_allclose(feature_maps, expected, atol=1e-4)


def test_the_input_is_left_as_it_was(engine: Engine, pixels: np.ndarray) -> None:
    before = pixels.copy()
    engine.infer(pixels)
    assert np.array_equal(before, pixels)


def test_bf16_stays_near_f32(resnet18_directory: Path, pixels: np.ndarray, reference: np.ndarray) -> None:
    description = Description.read(resnet18_directory)
    probabilities, _ = TorchEngine(resnet18_directory, description, "bf16", threads=1, gpu_id=None).infer(pixels)
    assert 0 < np.abs(probabilities - reference).max() < 0.05


class TestChoice:
    @pytest.mark.parametrize(
        ("setting", "gpu_id", "kind"),
        [("auto", None, OpenVinoEngine), ("openvino", 0, OpenVinoEngine), ("torch", None, TorchEngine)],
    )
    def test_the_setting_and_the_gpu_decide(
        self, resnet18_directory: Path, setting: Any, gpu_id: int | None, kind: type
    ) -> None:
        config = ModelConfig(handler=HandlerSettings(engine=setting, threads=1))
        assert isinstance(engine_of(resnet18_directory, config, gpu_id), kind)

    def test_auto_is_torch_on_a_gpu(self, resnet18_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        chosen = []
        monkeypatch.setattr(TorchEngine, "__init__", lambda _self, *arguments, **_: chosen.append(arguments[-1]))
        monkeypatch.setattr(TorchEngine, "infer", lambda _self, _pixels: None)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        engine_of(resnet18_directory, ModelConfig(handler=HandlerSettings(threads=1)), gpu_id=1)
        assert chosen == [1]

    @pytest.mark.parametrize(
        ("setting", "cores", "threads", "threads_when_alone"),
        [("auto", 16, 2, 8), ("auto", 1, 2, None), (2, 16, 2, None)],
    )
    def test_a_worker_beside_a_gpu_copies_with_its_own_threads_and_may_decode_on_all_cores_when_it_is_alone(
        self,
        resnet18_directory: Path,
        monkeypatch: pytest.MonkeyPatch,
        setting: Any,
        cores: int,
        threads: int,
        threads_when_alone: int | None,
    ) -> None:
        monkeypatch.setattr(factory, "usable_cores", lambda: cores)
        monkeypatch.setattr(factory, "threads_of_worker", lambda _workers: 2)
        torch_threads: list[int] = []
        monkeypatch.setattr(torch, "set_num_threads", torch_threads.append)
        pretend_gpu(monkeypatch)
        info = engine_of(resnet18_directory, ModelConfig(handler=HandlerSettings(threads=setting)), gpu_id=0).info
        assert (info.device, info.precision) == ("NVIDIA H100", "f16")
        assert (info.threads, info.threads_when_alone) == (threads, threads_when_alone)
        assert torch_threads == [threads]

    @pytest.mark.parametrize(("available", "gpus"), [(False, 0), (True, 1)])
    @pytest.mark.parametrize(("setting", "kind"), [("auto", OpenVinoEngine), ("torch", TorchEngine)])
    def test_a_gpu_that_pytorch_cannot_use_leaves_the_processor(
        self,
        resnet18_directory: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        available: bool,
        gpus: int,
        setting: Any,
        kind: type,
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        engine = engine_of(
            resnet18_directory, ModelConfig(handler=HandlerSettings(engine=setting, threads=1)), gpu_id=7
        )
        assert isinstance(engine, kind)
        assert "cannot use GPU 7" in caplog.text

    def test_a_gpu_without_pytorch_leaves_the_processor(
        self, resnet18_directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setitem(sys.modules, "torch", None)
        config = ModelConfig(handler=HandlerSettings(threads=1))
        assert isinstance(engine_of(resnet18_directory, config, gpu_id=0), OpenVinoEngine)
        assert "cannot use GPU 0" in caplog.text

    @pytest.mark.parametrize(("cores", "threads_when_alone"), [(1, None), (2, 2), (64, 8)])
    def test_a_worker_of_several_may_use_all_cores_when_it_is_alone(
        self, resnet18_directory: Path, monkeypatch: pytest.MonkeyPatch, cores: int, threads_when_alone: int | None
    ) -> None:
        monkeypatch.setattr(factory, "usable_cores", lambda: cores)
        monkeypatch.setattr(factory, "threads_of_worker", lambda _workers: 1)
        info = engine_of(resnet18_directory, ModelConfig()).info
        assert (info.threads, info.threads_when_alone) == (1, threads_when_alone)

    def test_threads_that_were_set_are_never_more(
        self, resnet18_directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(factory, "usable_cores", lambda: 8)
        info = engine_of(resnet18_directory, ModelConfig(handler=HandlerSettings(threads=1))).info
        assert (info.threads, info.threads_when_alone) == (1, None)

    @pytest.mark.parametrize(
        ("capabilities", "setting", "chosen"),
        [
            (["FP32", "BF16"], "auto", "bf16"),
            (["FP32", "BF16"], "f32", "f32"),
            (["FP32"], "auto", "f32"),
            (["FP32"], "f32", "f32"),
        ],
    )
    def test_auto_is_bf16_only_where_the_processor_has_it(
        self,
        resnet18_directory: Path,
        monkeypatch: pytest.MonkeyPatch,
        capabilities: list[str],
        setting: str,
        chosen: str,
    ) -> None:
        pretend_capabilities(monkeypatch, capabilities)
        assert OpenVinoEngine(resnet18_directory, setting, threads=1).info.precision == chosen  # type: ignore[arg-type]

    def test_bf16_is_refused_where_it_would_be_emulated(
        self, resnet18_directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pretend_capabilities(monkeypatch, ["FP32"])
        with pytest.raises(ConfigurationError, match=r"handler\.precision = 'bf16'.*use 'auto' or 'f32'"):
            OpenVinoEngine(resnet18_directory, "bf16", threads=1)

    def test_a_damaged_graph_is_refused_with_what_to_do(self, tmp_path: Path) -> None:
        (tmp_path / "network.xml").write_text("<net")
        with pytest.raises(ConfigurationError, match=r"network\.xml .* build the archive again"):
            OpenVinoEngine(tmp_path, "f32", threads=1)


def pretend_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that computes on the CPU, picture by picture, without graphs."""
    device = torch.device
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _device: "NVIDIA H100")
    monkeypatch.setattr(torch, "device", lambda *_: device("cpu"))
    monkeypatch.setattr(
        torch_engine, "CapturedClassifier", lambda classifier, *_: lambda pixels: classifier(torch.from_numpy(pixels))
    )


def pretend_capabilities(monkeypatch: pytest.MonkeyPatch, capabilities: list[str]) -> None:
    import openvino

    real = openvino.Core.get_property

    def get_property(core: openvino.Core, device: str, name: str) -> object:
        return capabilities if name == "OPTIMIZATION_CAPABILITIES" else real(core, device, name)

    monkeypatch.setattr(openvino.Core, "get_property", get_property)
