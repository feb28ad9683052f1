"""A classifier on a GPU as captured CUDA graphs: one launch a batch instead of one for every layer."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from ..engines.base import Pixels

if TYPE_CHECKING:
    import torch

#: Runs before a capture, in which cuDNN chooses its algorithms and libraries allocate what a capture may not.
WARM_UP_RUNS = 3


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
    """Run beside the current stream, as PyTorch asks before a capture."""
    import torch

    aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UP_RUNS):
            classifier(batch)
    torch.cuda.current_stream().wait_stream(aside)
