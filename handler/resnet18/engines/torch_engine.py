"""PyTorch: the GPU engine, and on the CPU the reference that the other engine is compared with."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ..description import Description
from ..engines.base import EngineInfo, FeatureMap, Pixels, Probabilities
from ..network import as_classifier, build_network
from ..settings import Precision

if TYPE_CHECKING:
    import torch

#: The network's state dict inside an archive, float32.
WEIGHTS_FILE = "network.safetensors"
#: Runs before a capture, in which cuDNN chooses its algorithms and libraries allocate what a capture may not.
WARM_UP_RUNS = 3


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
        threads_when_alone: int | None = None,
    ) -> None:
        """Load ``network.safetensors`` of ``directory`` onto GPU ``gpu_id``, or the CPU where that is None.

        ``auto`` means half precision on a GPU and f32 on the CPU, where this engine is the reference. ``batch_size`` is
        the most pictures of one call on a GPU. ``threads_when_alone`` is only reported: beside a GPU, threads decode.
        """
        import torch
        from safetensors.torch import load_file

        self._torch = torch
        torch.set_num_threads(threads)  # beside a GPU they copy pictures, for which torch would take every core
        if gpu_id is None:
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
        self.info = EngineInfo("torch", name, short, threads, threads_when_alone)

    def infer(self, pixels: Pixels) -> tuple[Probabilities, FeatureMap | None]:
        torch = self._torch
        with torch.inference_mode():
            answers = [answer.numpy() for answer in self._classify(pixels)]
        return answers[0], answers[1] if len(answers) > 1 else None


def can_use_gpu(gpu_id: int) -> bool:
    """Whether PyTorch is there and can compute on GPU ``gpu_id``.

    TorchServe also counts an Apple M1's cores and Intel's GPUs, and NVIDIA's whatever their driver and PyTorch's build.
    """
    try:
        import torch
    except ModuleNotFoundError:  # an image for processors, on a machine with a GPU
        return False

    return torch.cuda.is_available() and gpu_id < torch.cuda.device_count()


def captured_sizes(batch_size: int) -> list[int]:
    """The batch sizes to capture, ascending: the powers of two below ``batch_size``, and that itself.

    A batch is filled up to the next of them, so at most half of what is computed is thrown away.
    """
    return [*(2**exponent for exponent in range((batch_size - 1).bit_length())), batch_size]


class CapturedClassifier:
    """Runs batches of up to ``batch_size`` pictures; see "CUDA Graphs" in PyTorch's notes on CUDA semantics."""

    def __init__(self, classifier: torch.nn.Module, device: torch.device, side: int, batch_size: int) -> None:
        """Capture ``classifier`` (see ``as_classifier``), whose weights are on ``device``."""
        import torch

        torch.cuda.set_device(device)
        torch.backends.cudnn.benchmark = True
        self._sizes = captured_sizes(batch_size)
        # Pinned, so that the upload, a quarter of a float's size, is one direct transfer.
        self._host_input = torch.zeros((batch_size, side, side, 3), dtype=torch.uint8, pin_memory=True)
        self._input = torch.zeros_like(self._host_input, device=device)
        self._graphs: dict[int, tuple[torch.cuda.CUDAGraph, tuple[torch.Tensor, ...]]] = {}
        pool = torch.cuda.graph_pool_handle()
        for size in reversed(self._sizes):  # the largest first: the smaller ones fit into its memory
            _warm_up(classifier, self._input[:size])
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                answers = classifier(self._input[:size])
            self._graphs[size] = graph, answers

    def __call__(self, pixels: Pixels) -> list[torch.Tensor]:
        """The classifier's answers for ``pixels`` (N, side, side, 3), on the CPU."""
        import torch

        count = len(pixels)
        graph, answers = self._graphs[self._sizes[bisect_left(self._sizes, count)]]
        self._host_input[:count] = torch.from_numpy(pixels)
        self._input[:count].copy_(self._host_input[:count], non_blocking=True)
        graph.replay()
        return [answer[:count].cpu() for answer in answers]


def _warm_up(classifier: torch.nn.Module, batch: torch.Tensor) -> None:
    """Run beside the current stream, as PyTorch requires before a capture."""
    import torch

    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP_RUNS):
            classifier(batch)
    torch.cuda.current_stream().wait_stream(aside)
