"""What the processor can do: decode and inference in processes of one thread, one per core, without any server.

As a script it is one of these processes. It prints ``ready`` when it is warm, waits for a line, works for the seconds
it was given, and prints its figures as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import REPOSITORY
from bench.errors import BenchError
from bench.measurements import Journal
from bench.options import BenchOptions
from marserve.handler.resnet18.cpu import usable_cores
from marserve.handler.resnet18.engines.factory import MOST_THREADS
from marserve.terminal import say

#: The batch size that the served model works with under load.
BATCH = 8
WARM_UP_BATCHES = 5


@dataclass(frozen=True)
class Limit:
    """Of all processes together; the milliseconds are medians of one process."""

    images_per_second: float
    decode_ms: float
    infer_ms: float
    #: Decode, inference and nothing else for a batch.
    batch_ms: float


def measure_in_process(
    archives: Mapping[str, Path], photographs: Path, journal: Journal, options: BenchOptions, round_number: int
) -> None:
    """One round, for every precision there is an unpacked archive of. Raises BenchError where a process fails."""
    cores = usable_cores()
    modes = {
        "throughput": {"processes": cores, "threads": 1, "batch": BATCH},
        # What a lone client could get at best: on all cores, which a worker that is alone takes, and on one.
        "lone": {"processes": 1, "threads": min(cores, MOST_THREADS), "batch": 1},
        "lone, one core": {"processes": 1, "threads": 1, "batch": 1},
    }
    for precision, archive in archives.items():
        for mode, arguments in modes.items():
            if journal.has(f"limit {mode}", candidate=precision, round=round_number):
                continue
            limit = measure_limit(archive, photographs, precision, seconds=options.seconds, **arguments)
            journal.add(f"limit {mode}", candidate=precision, round=round_number, **arguments, **vars(limit))
            if mode == "throughput":
                say(f"  in-process {precision}: {limit.images_per_second:.1f} images/s")
            else:
                say(f"  in-process {precision}: {limit.batch_ms:.1f} ms for one picture, {mode}")


def measure_limit(
    archive: Path, photographs: Path, precision: str, *, processes: int, threads: int, batch: int, seconds: float
) -> Limit:
    """Run ``processes`` side by side, beginning together. Raises BenchError when one of them fails."""
    arguments = [str(archive), str(photographs), precision, str(threads), str(batch), str(seconds)]
    with ExitStack() as stack:
        children = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", "bench.in_process", *arguments],
                    cwd=REPOSITORY,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                    env={"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": str(threads)},
                )
            )
            for _ in range(processes)
        ]
        try:
            results = _begin_together(children)
        except BaseException:
            for child in children:
                child.kill()
            raise
    middle = results[0]
    return Limit(
        sum(result["images_per_second"] for result in results),
        middle["decode_ms"], middle["infer_ms"], middle["batch_ms"],
    )  # fmt: skip


def _begin_together(children: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    for child in children:
        assert child.stdout is not None  # noqa: S101 - it has a pipe
        if child.stdout.readline().strip() != "ready":
            raise BenchError("The in-process limit cannot be measured: a process ended early; its reason stands above.")
    for child in children:
        assert child.stdin is not None  # noqa: S101
        child.stdin.write("go\n")
        child.stdin.flush()
    results = []
    for child in children:
        assert child.stdout is not None  # noqa: S101
        results.append(json.loads(child.stdout.readline()))
    return results


def main() -> int:
    """Be one of the processes."""
    import numpy as np

    from marserve.handler.resnet18.description import Description
    from marserve.handler.resnet18.engines.openvino_engine import OpenVinoEngine
    from marserve.handler.resnet18.images import ImageDecoder, ImageLimits

    archive, photographs, precision = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    threads, batch, seconds = int(sys.argv[4]), int(sys.argv[5]), float(sys.argv[6])
    decoder = ImageDecoder(Description.read(archive).preprocessing, ImageLimits(50_000_000, 50_000_000), "fast")
    engine = OpenVinoEngine(archive, precision, threads)  # type: ignore[arg-type]
    files = sorted(file for file in photographs.iterdir() if file.suffix.lower() in (".jpg", ".jpeg"))
    pictures = [file.read_bytes() for file in files]
    decode_s: list[float] = []
    infer_s: list[float] = []

    def step(first: int) -> None:
        started = time.perf_counter()
        pixels = np.stack([decoder.decode(pictures[(first + i) % len(pictures)]).pixels for i in range(batch)])
        decoded = time.perf_counter()
        engine.infer(pixels)
        decode_s.append(decoded - started)
        infer_s.append(time.perf_counter() - decoded)

    for number in range(WARM_UP_BATCHES):
        step(number * batch)
    decode_s.clear()
    infer_s.clear()
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    done = 0
    while time.perf_counter() - started < seconds:
        step(done)
        done += batch
    elapsed = time.perf_counter() - started
    batches = [decode + infer for decode, infer in zip(decode_s, infer_s, strict=True)]
    figures = {
        "images_per_second": done / elapsed,
        "decode_ms": float(np.median(decode_s)) * 1e3 / batch,
        "infer_ms": float(np.median(infer_s)) * 1e3 / batch,
        "batch_ms": float(np.median(batches)) * 1e3,
    }
    print(json.dumps(figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
