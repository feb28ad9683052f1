"""The GPU that servers are measured on, or why there is none; and what a server is given to see of it."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.errors import NoGpuError

#: What a server computes on. Pictures are decoded on the processor in all of them.
Device = Literal["cpu", "gpu"]
VISIBLE = "CUDA_VISIBLE_DEVICES"
#: Seconds for importing PyTorch and making a context on a GPU that is asleep.
PROBE_S = 120
#: It computes, since an old driver and a build without CUDA are only found so.
PROBE = """
import json, torch
torch.ones(1, device="cuda").item()
gpu = torch.cuda.get_device_properties(0)
print(json.dumps({"name": gpu.name, "memory_gb": round(gpu.total_memory / 1e9, 1), "cuda": torch.version.cuda}))
"""
#: What PyTorch says where it was installed without a GPU in sight.
CPU_BUILD = "not compiled with CUDA"


@dataclass(frozen=True)
class Gpu:
    name: str
    memory_gb: float
    cuda: str
    driver: str

    def __str__(self) -> str:
        return f"{self.name}, {self.memory_gb} GB, driver {self.driver}, CUDA {self.cuda}"


def visible_devices(device: Device) -> dict[str, str]:
    """The environment of a server that computes on ``device``: it sees the first GPU of those that we may use, or none.

    TorchServe gives its workers GPUs wherever there are any, so those on the processor must not see them.
    """
    return {VISIBLE: "" if device == "cpu" else os.environ.get(VISIBLE, "0").split(",")[0]}


@functools.cache
def find_gpu(python: Path) -> Gpu:
    """The GPU that PyTorch of the interpreter ``python`` computes on. Raises NoGpuError that says why there is none."""
    try:
        driver = _first_line(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])
    except FileNotFoundError:
        raise NoGpuError("there is no NVIDIA driver (no program nvidia-smi).") from None
    except NoGpuError as exc:
        raise NoGpuError(f"nvidia-smi finds none ({exc}).") from None
    try:
        found = json.loads(_first_line([str(python), "-c", PROBE]))
    except NoGpuError as exc:
        reason = f"PyTorch of {python} cannot compute on it ({exc})."
        if CPU_BUILD in str(exc):
            reason += f" Remove {python.parent.parent} and start again: it is installed for GPUs then."
        raise NoGpuError(reason) from None
    return Gpu(**found, driver=driver)


def _first_line(command: list[str]) -> str:
    """Of what ``command`` prints. Raises NoGpuError with its last words where it fails, FileNotFoundError."""
    environment = {**os.environ, **visible_devices("gpu")}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=PROBE_S
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NoGpuError(f"{Path(command[0]).name} did not answer in {PROBE_S} s") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()
        raise NoGpuError(said[-1].rstrip("."))
    return lines[0]
