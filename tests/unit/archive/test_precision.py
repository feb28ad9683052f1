"""Marks that keep a layer in f32, seen in what OpenVINO's CPU engine makes of them."""

from pathlib import Path
from xml.etree import ElementTree  # nosec B405 # reads what the test has built

import openvino
import pytest

from marserve.archive.export import export_network
from marserve.handler.resnet18.description import Normalization
from marserve.handler.resnet18.engines.openvino_engine import GRAPH_FILE
from marserve.handler.resnet18.network import as_classifier, build_network


@pytest.mark.parametrize(
    ("architecture", "marked"),
    [("resnet18", ["Convolution"]), ("mobilenet_v2", ["Convolution", "GroupConvolution"])],
)
def test_head_and_early_depthwise_layers_are_marked(tmp_path: Path, architecture: str, marked: list[str]) -> None:
    export_network(as_classifier(build_network(architecture, 3), Normalization(), None), 224, tmp_path)
    layers = ElementTree.parse(tmp_path / GRAPH_FILE).iterfind("layers/layer")  # noqa: S314 - written by this process
    found = {str(layer.get("type")) for layer in layers if layer.find("rt_info/attribute[@name='precise']") is not None}
    assert sorted(found) == marked


@pytest.mark.needs("bf16")
def test_the_engine_computes_the_head_in_f32_and_the_rest_in_bf16(tmp_path: Path) -> None:
    export_network(as_classifier(build_network("resnet18", 3), Normalization(), None), 224, tmp_path)
    compiled = openvino.Core().compile_model(str(tmp_path / GRAPH_FILE), "CPU", {"INFERENCE_PRECISION_HINT": "bf16"})
    layers = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    precisions = [
        layer["runtimePrecision"].astype(str) for layer in layers if layer["layerType"].astype(str) == "Convolution"
    ]
    assert precisions == ["bf16"] * 20 + ["f32"]
