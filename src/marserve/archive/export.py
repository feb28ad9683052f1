"""The network leaves Python: to OpenVINO IR for the CPU engine, and as a state dict for the torch engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from marserve.archive import precision
from marserve.handler.resnet18.engines.openvino_engine import GRAPH_FILE
from marserve.handler.resnet18.engines.torch_engine import WEIGHTS_FILE

if TYPE_CHECKING:
    import openvino
    import torch


def export_network(classifier: torch.nn.Module, crop_size: int, directory: Path) -> None:
    """Write ``classifier`` (see ``resnet18.network.as_classifier``) to ``directory`` in both forms.

    The graph takes uint8 (N, crop_size, crop_size, 3) for any N and answers float32 (N, classes). Its weights stay
    float32: the engine lowers precision when it compiles, for the processor at hand. Equal networks give equal bytes.
    """
    import openvino
    import torch
    from safetensors.torch import save_file

    # Two pictures, since torch.export takes an example batch of one for a constant.
    example = torch.zeros((2, crop_size, crop_size, 3), dtype=torch.uint8)
    batch = torch.export.Dim("batch", min=1, max=1024)
    program = torch.export.export(classifier, (example,), dynamic_shapes={"pixels": {0: batch}})
    graph = openvino.convert_model(program)
    graph.reshape([-1, crop_size, crop_size, 3])
    precision.make_head_markable(graph)
    name_nodes(graph)
    openvino.save_model(graph, directory / GRAPH_FILE, compress_to_fp16=False)
    precision.mark(directory / GRAPH_FILE, precision.layers_to_keep_precise(graph))
    network = classifier.get_submodule("network")
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, directory / WEIGHTS_FILE)


def name_nodes(graph: openvino.Model) -> None:
    """Give ``graph`` and its nodes names that depend on the network alone.

    OpenVINO numbers both through the life of a process.
    """
    graph.set_friendly_name("classifier")
    for number, node in enumerate(graph.get_ordered_ops()):
        node.set_friendly_name(f"{node.get_type_name()}_{number}")
