"""PyTorch: the GPU engine, and on the CPU the reference that the other engine is compared with."""

from __future__ import annotations

from pathlib import Path

from resnet18.description import Description
from resnet18.engines.base import EngineInfo, FeatureMap, Pixels, Probabilities
from resnet18.network import as_classifier, build_network
from resnet18.settings import Precision

#: The network's state dict inside an archive, float32.
WEIGHTS_FILE = "network.safetensors"


class TorchEngine:
    """Runs the network eagerly, channels last, on a CUDA device or the CPU."""

    def __init__(
        self, directory: Path, description: Description, precision: Precision, threads: int, gpu_id: int | None
    ) -> None:
        """Load ``network.safetensors`` of ``directory`` onto GPU ``gpu_id``, or the CPU where that is None.

        ``auto`` means half precision on a GPU and f32 on the CPU, where this engine is the reference.
        """
        import torch
        from safetensors.torch import load_file

        self._torch = torch
        if gpu_id is None:
            torch.set_num_threads(threads)
            self._device = torch.device("cpu")
            name = "cpu"
        else:
            self._device = torch.device("cuda", gpu_id)
            name = torch.cuda.get_device_name(self._device)
        automatic = torch.float32 if gpu_id is None else torch.float16
        dtype = {"auto": automatic, "f32": torch.float32, "bf16": torch.bfloat16}[precision]
        network = build_network(description.architecture, description.class_count)
        network.load_state_dict(load_file(directory / WEIGHTS_FILE))
        classifier = as_classifier(network, description.normalization, description.head)
        self._classifier = classifier.to(self._device, dtype).to(memory_format=torch.channels_last)
        short = {torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16"}[dtype]
        self.info = EngineInfo("torch", name, short, threads)

    def infer(self, pixels: Pixels) -> tuple[Probabilities, FeatureMap | None]:
        torch = self._torch
        with torch.inference_mode():
            batch = torch.from_numpy(pixels).to(self._device)
            answers = [answer.cpu().numpy() for answer in self._classifier(batch)]
        return answers[0], answers[1] if len(answers) > 1 else None
