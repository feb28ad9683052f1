"""This machine: what it is, and whether it was quiet while something was measured on it."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from marserve.handler.resnet18.cpu import usable_cores
from marserve.plan.measurement import MeasuredMachine
from marserve.system.machine import read_machine

#: Instructions that decide how fast a processor computes networks.
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")

#: Beyond, figures are not to be trusted: the share of the cores' time that the hypervisor gave to others, and the share
#: of the cores that other processes took.
MOST_STEAL, MOST_OTHERS = 0.01, 0.1


def this_machine() -> MeasuredMachine:
    """Processor, cores and memory, as far as this process may use them."""
    try:
        cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # no Linux
        cpu = ""
    flags = re.search(r"^flags\s*: (.*)$", cpu, re.MULTILINE)
    present = set(flags[1].split()) if flags else set()
    machine = read_machine()
    return MeasuredMachine(
        processor=processor(cpu),
        cores=machine.cores,
        flags=tuple(flag for flag in FLAGS if flag in present),
        memory_bytes=machine.memory_bytes,
        kernel=platform.release(),
    )


def processor(cpu: str) -> str:
    """Its name, as /proc/cpuinfo has it."""
    model = re.search(r"^model name\s*: (.*)$", cpu, re.MULTILINE)
    return model[1] if model else platform.machine()


@dataclass(frozen=True)
class Disturbance:
    """What others took of this machine's cores."""

    steal_share: float
    other_cores: float
    load_before: float

    def reasons(self) -> list[str]:
        """Why what was measured is not to be trusted; empty where it is."""
        found = []
        if self.steal_share > MOST_STEAL:
            found.append(f"the hypervisor gave {self.steal_share:.0%} of the cores' time to other machines")
        # On a part of a larger machine, others may have the rest of it.
        own = usable_cores()
        elsewhere = (os.cpu_count() or own) - own
        if self.other_cores - elsewhere > MOST_OTHERS * own:
            found.append(f"other processes took {self.other_cores:.1f} of {own + elsewhere} cores")
        return found


class Watch:
    """From its making on: ``own_s`` answers the processor seconds of all that belongs to the measurement."""

    def __init__(self, own_s: Callable[[], float]) -> None:
        self._own_s = own_s
        self._load = os.getloadavg()[0]
        self._began = self._times()

    def disturbance(self) -> Disturbance:
        """Until now."""
        total, busy, steal, own = (now - began for now, began in zip(self._times(), self._began, strict=True))
        cores = os.cpu_count() or 1
        others = max(busy - own, 0.0) / total * cores if total else 0.0
        return Disturbance(steal / total if total else 0.0, others, self._load)

    def _times(self) -> tuple[float, float, float, float]:
        times = psutil.cpu_times()
        steal = getattr(times, "steal", 0.0)
        idle = times.idle + getattr(times, "iowait", 0.0)
        # Linux counts guests' time as the user's already.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return total, total - idle - steal, steal, self._own_s()
