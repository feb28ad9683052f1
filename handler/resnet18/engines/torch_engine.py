"""PyTorch: the GPU engine, and on the CPU the reference that the other engine is compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..description import Description
from ..engines.base import EngineInfo, FeatureMap, Pixels, Probabilities
from ..engines.cuda_graphs import CapturedClassifier
from ..network import as_classifier, build_network
from ..settings import Precision

if TYPE_CHECKING:
    import torch

#: The network's state dict inside an archive, float32.
WEIGHTS_FILE = "network.safetensors"


class TorchEngine:
    """Runs the network channels last: as captured CUDA graphs on a GPU, eagerly on the CPU."""

    def __init__(
        self,
        directory: Path,
        description: Description,
        precision: Precision,
        threads: int,
        gpu_id: int | None,
        *,
        batch_size: int = 1,
    ) -> None:
        """Load ``network.safetensors`` of ``directory`` onto GPU ``gpu_id``, or the CPU where that is None.

        ``auto`` means half precision on a GPU and f32 on the CPU, where this engine is the reference. ``batch_size`` is
        the most pictures of one call on a GPU.
        """
        import torch
        from safetensors.torch import load_file

        self._torch = torch
        if gpu_id is None:
            torch.set_num_threads(threads)
            device = torch.device("cpu")
            name = "cpu"
        else:
            device = torch.device("cuda", gpu_id)
            name = torch.cuda.get_device_name(device)
        automatic = torch.float32 if gpu_id is None else torch.float16
        dtype = {"auto": automatic, "f32": torch.float32, "bf16": torch.bfloat16}[precision]
        network = build_network(description.architecture, description.class_count)
        network.load_state_dict(load_file(directory / WEIGHTS_FILE))
        classifier = as_classifier(network, description.normalization, description.head)
        classifier = classifier.to(device, dtype).to(memory_format=torch.channels_last)
        self._classify: Callable[[Pixels], Iterable[torch.Tensor]]
        if gpu_id is None:
            self._classify = lambda pixels: classifier(torch.from_numpy(pixels))
        else:
            with torch.inference_mode():
                side = description.preprocessing.crop_size
                self._classify = CapturedClassifier(classifier, device, side, batch_size)
        short = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}[dtype]
        self.info = EngineInfo("torch", name, short, threads)

    def infer(self, pixels: Pixels) -> tuple[Probabilities, FeatureMap | None]:
        torch = self._torch
        with torch.inference_mode():
            answers = [answer.numpy() for answer in self._classify(pixels)]
        return answers[0], answers[1] if len(answers) > 1 else None
