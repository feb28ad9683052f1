"""What every engine offers: one batch of pictures in, one row of probabilities a picture out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Probabilities = NDArray[np.float32]
FeatureMap = NDArray[np.float32]


@dataclass(frozen=True)
class EngineInfo:
    """What was chosen, for the log and for ``GET /models/{name}?customized=true``."""

    engine: str
    device: str
    precision: str
    threads: int
    #: While no other worker is at work; None where that makes no difference.
    threads_when_alone: int | None = None


class Engine(Protocol):
    """A loaded network. Not thread-safe: a TorchServe worker computes one batch at a time."""

    @property
    def info(self) -> EngineInfo: ...

    def infer(self, pixels: Pixels) -> tuple[Probabilities, FeatureMap | None]:
        """Classify ``pixels``, RGB (N, H, W, 3), N of at least 1.

        Answers the probabilities (N, classes), each row summing to 1, and the last feature map (N, channels, h, w)
        where the network has a head that makes it useful (``Description.head``). The probabilities are the caller's to
        keep; the feature map is valid until the next call.
        """
        ...
