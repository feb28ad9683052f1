"""The network leaves Python: to OpenVINO IR for the CPU engine, and as a state dict for the torch engine.

Some layers of the graph are marked: OpenVINO's CPU engine computes them in f32 where the rest is computed in bf16,
which keeps 8 bits of a number, so that of two close classes both logits often round to the same one. Measured on 200
photographs, top-1 equal to that in f32: ResNet18 (seeded) 191 without the mark on its head and 199 with it, at the
same images/s; the demonstration model 194 and, with its noisiest layers marked as well, 198, for 3.6 ms a picture on
one core instead of 2.4 (f32: 4.7).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree  # nosec B405 # reads what this process has written

import numpy as np

from marserve.errors import MarserveError
from marserve.handler.resnet18.engines.openvino_engine import GRAPH_FILE
from marserve.handler.resnet18.engines.torch_engine import WEIGHTS_FILE

if TYPE_CHECKING:
    import openvino
    import torch

#: Noise that enters while maps are large goes through all later layers; on smaller maps the marks changed nothing.
SMALLEST_MAP = 14
MARK = {"name": "precise", "version": "0"}


def export_network(classifier: torch.nn.Module, crop_size: int, directory: Path) -> None:
    """Write ``classifier`` (see ``resnet18.network.as_classifier``) to ``directory`` in both forms.

    The graph takes uint8 (N, crop_size, crop_size, 3) for any N and answers float32 (N, classes). Its weights stay
    float32: the engine lowers precision when it compiles, for the processor at hand. Equal networks give equal bytes.
    """
    import openvino
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # Two pictures, since torch.export takes an example batch of one for a constant.
    example = torch.zeros((2, crop_size, crop_size, 3), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(classifier, (example,), dynamic_shapes={"pixels": {0: batch}})
    graph = openvino.convert_model(program)
    graph.reshape([-1, crop_size, crop_size, 3])
    make_head_markable(graph)
    name_nodes(graph)
    save_graph(graph, directory / GRAPH_FILE)
    mark(directory / GRAPH_FILE, layers_to_keep_precise(graph))
    network = classifier.get_submodule("network")
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    try:
        save_file(tensors, directory / WEIGHTS_FILE)
    except SafetensorError as exc:
        raise _cannot_write(directory / WEIGHTS_FILE, exc) from exc


def save_graph(graph: openvino.Model, file: Path) -> None:
    """Write ``graph`` and, beside it, its weights. Raises MarserveError where they cannot be written."""
    import openvino

    try:
        openvino.save_model(graph, file, compress_to_fp16=False)
    except RuntimeError as exc:  # of a full disk it says "basic_ios::clear: iostream error"
        raise _cannot_write(file, exc) from exc


def _cannot_write(file: Path, error: Exception) -> MarserveError:
    left_mb, reason = shutil.disk_usage(file.parent).free / 1e6, " ".join(str(error).split())
    return MarserveError(
        f"{file} cannot be written ({reason}); {left_mb:.0f} MB are free there. Free some, or name a folder with more "
        "in the variable TMPDIR."
    )


def name_nodes(graph: openvino.Model) -> None:
    """Give ``graph`` and its nodes names that depend on the network alone.

    OpenVINO numbers both through the life of a process.
    """
    graph.set_friendly_name("classifier")
    for number, node in enumerate(graph.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{number}")


def make_head_markable(graph: openvino.Model) -> None:
    """Turn a linear last layer into the same 1x1 convolution.

    OpenVINO turns a matrix product with constant weights into a layer of its own kind, on which the mark is lost.
    """
    from openvino import opset15 as operations

    products = [node for node in graph.get_ordered_ops() if node.get_type_name() == "MatMul"]
    if not products or products[-1].input_value(1).get_node().get_type_name() != "Constant":
        return
    product, places = products[-1], np.array([2, 3])
    weights = product.input_value(1).get_node().data
    matrix = weights if product.get_attributes()["transpose_b"] else weights.T
    convolution = operations.convolution(
        operations.unsqueeze(product.input_value(0), places),
        operations.constant(matrix[:, :, None, None]),
        strides=[1, 1],
        pads_begin=[0, 0],
        pads_end=[0, 0],
        dilations=[1, 1],
    )
    product.output(0).replace(operations.squeeze(convolution, places).output(0))


def layers_to_keep_precise(graph: openvino.Model) -> list[str]:
    """Names of the layers to mark: the head, and where there are depthwise layers those of large maps and the first.

    A depthwise layer adds up few products, so that the rounding of each weighs more than in other layers.
    """
    convolutions = [node for node in graph.get_ordered_ops() if "Convolution" in node.get_type_name()]
    depthwise = [
        node
        for node in convolutions
        if node.get_type_name() == "GroupConvolution"
        and node.get_output_partial_shape(0)[2].get_length() >= SMALLEST_MAP
    ]
    kept = [*([convolutions[0], *depthwise] if depthwise else []), convolutions[-1]] if convolutions else []
    return [node.get_friendly_name() for node in kept]


def mark(graph_file: Path, layers: list[str]) -> None:
    """Mark ``layers`` in a saved graph; OpenVINO reads the mark, but has no way to set it from Python."""
    tree = ElementTree.parse(graph_file)  # noqa: S314 - written by this process
    for layer in tree.iterfind("layers/layer"):
        if layer.get("name") in layers:
            information = ElementTree.Element("rt_info")
            ElementTree.SubElement(information, "attribute", MARK)
            layer.insert(1, information)  # between <data> and <input>
    tree.write(graph_file, encoding="utf-8", xml_declaration=True)
