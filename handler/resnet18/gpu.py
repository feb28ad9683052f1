"""Which GPU a worker computes on.

TorchServe assigns one to each worker. Whenever somebody lists a model, it then asks nvidia-smi once for every worker,
in the thread that reads requests: with 16 workers that thread answers nobody for most of a second. The services that
``marserve serve`` starts list models every second. So it tells TorchServe of no GPU, and the workers of how many there
are.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise

#: The variable in which ``marserve serve`` sends each worker the number of GPUs.
GPUS_VARIABLE = "MARSERVE_GPUS"
#: TorchServe numbers workers, from 9000 on, and names the socket of each after its number.
_SOCKETS = ("--sock-name", "--port")


def gpu_of_worker(
    assigned: int | None, environ: Mapping[str, str] = os.environ, arguments: Sequence[str] | None = None
) -> int | None:
    """The number of this worker's GPU, None for the processor.

    Where ``GPUS_VARIABLE`` says that there are some, the workers take them in turns, by their numbers; else it is
    ``assigned``, TorchServe's choice. A worker that TorchServe starts again keeps its number, and so its GPU.
    ``arguments`` are those of the worker's command line.
    """
    sent = environ.get(GPUS_VARIABLE, "")
    if not (sent.isdecimal() and int(sent) > 0):
        return assigned
    arguments = sys.argv if arguments is None else arguments
    values = [value for name, value in pairwise(arguments) if name in _SOCKETS]
    numbers = [int(match[0]) for value in values if (match := re.search(r"\d+$", value))]
    return numbers[0] % int(sent) if numbers else 0
