"""``python -m bench.bulk``: `marserve bulk` beside the in-process limit and `marserve classify`; and a million rows.

A precision is measured in one run on the same pictures: copies of the photographs, each with bytes of its own, so that
no cache knows them. Rates leave out what starts before: Ray, the archive, the server.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any
from unittest import mock

import psutil

from bench import ENVIRONMENTS, REPOSITORY
from bench.candidate import Workspace
from bench.errors import BenchError
from bench.in_process import BATCH, measure_limit
from bench.machine import describe_machine
from bench.our_server import MODEL, OurServer
from bench.pictures import read_photographs
from bench.reference import expected_answers
from marserve.bulk.engine import Prediction
from marserve.handler.resnet18.cpu import usable_cores
from marserve.handler.resnet18.errors import RequestError
from marserve.handler.resnet18.images import Encoded
from marserve.handler.resnet18.labels import Label
from marserve.running import run_command
from marserve.terminal import say

#: What must be true.
LEAST_OF_LIMIT, LEAST_OF_CLASSIFY = 0.9, 1.2
#: How much the last third of a million rows may be slower, and the memory of each process larger, than the second.
MOST_SLOWER, MOST_GROWTH = 0.1, 0.05
LIMIT_S = 5.0
SAMPLE_S = 1.0
#: In a JPEG: begins the file, and a comment.
START, COMMENT = b"\xff\xd8", b"\xff\xfe"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.bulk", description=__doc__, allow_abbrev=False)
    parser.add_argument("photographs", type=Path, help="a folder with JPEG files")
    parser.add_argument("--pictures", type=int, default=2000, help="how many are classified (default: 2000)")
    parser.add_argument("--precisions", default="int8,bf16", help="of int8, bf16, f32 (default: int8,bf16)")
    parser.add_argument("--prepare", action="store_true", help="build the archives, and measure nothing")
    parser.add_argument(
        "--rows", type=int, metavar="N",
        help="measure instead how memory and rate stay with so many rows: each file is read, and a stand-in answers "
        "without a look at it",
    )  # fmt: skip
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-bulk-") as scratch:
        workspace = Workspace(Path(scratch), Path(scratch), options.photographs, ENVIRONMENTS / "bulk-weights.pth")
        servers = [OurServer(precision, workspace) for precision in options.precisions.split(",")]
        if not workspace.weights.exists():
            ENVIRONMENTS.mkdir(exist_ok=True)
            expected_answers(options.photographs, workspace.weights)
        for server in servers:
            server.prepare()
        if options.prepare:
            return 0
        machine = describe_machine([])
        say(f"{machine['processor']}, {machine['cores']} cores, load before {machine['load_before']}")
        if options.rows is not None:
            return measure_rows(_archive_of(servers[0]), options.photographs, options.rows, Path(scratch))
        pictures = Path(scratch) / "pictures"
        copy_photographs(options.photographs, pictures, options.pictures)
        met = [measure_rates(server, pictures, Path(scratch)) for server in servers]
        return 0 if all(met) else 1


def _archive_of(server: OurServer) -> Path:
    return server.home / "model_store" / f"{MODEL}.mar"


def copy_photographs(photographs: Path, folder: Path, count: int) -> None:
    """``count`` JPEG files, which differ in a comment."""
    folder.mkdir()
    pictures = read_photographs(photographs).pictures
    for number in range(count):
        content, text = pictures[number % len(pictures)], str(number).encode()
        comment = COMMENT + (len(text) + 2).to_bytes(2, "big") + text
        (folder / f"{number:07}.jpg").write_bytes(START + comment + content.removeprefix(START))


def measure_rates(server: OurServer, pictures: Path, scratch: Path) -> bool:
    """One precision; whether all is as it must be."""
    unpacked = server.unpack()
    count = len(list(pictures.iterdir()))

    def limit() -> float:
        cores = usable_cores()
        how = {"processes": cores, "threads": 1, "batch": BATCH, "seconds": LIMIT_S}
        return measure_limit(unpacked, pictures, server.precision, **how).images_per_second  # type: ignore[arg-type]

    limits = [limit()]
    output = scratch / f"classes-{server.precision}"
    done = _marserve("bulk", pictures, "--archive", _archive_of(server), "--output", output)
    found = re.search(r"([\d,]+) classified at ([\d.]+)/s, 0 with an error", done)
    if found is None or int(found[1].replace(",", "")) != count:
        raise BenchError(f"bulk did not classify all of them: {done}")
    bulk = float(found[2])
    limits.append(limit())
    with server.run() as running:
        file = scratch / f"results-{server.precision}.jsonl"
        url = f"http://127.0.0.1:{running.targets['web'].port}"
        classify = _rate_of_classify(["classify", pictures, "--url", url, "--output", file], file, count)
    of_limit, of_classify = bulk / mean(limits), bulk / classify
    say(
        f"{server.precision}: in-process {' and '.join(f'{one:.1f}' for one in limits)}/s, bulk {bulk:.1f}/s = "
        f"{of_limit:.1%} of it, classify through the server {classify:.1f}/s, bulk {of_classify:.2f} times that"
    )
    return of_limit >= LEAST_OF_LIMIT and of_classify >= LEAST_OF_CLASSIFY


def _marserve(*arguments: object) -> str:
    """What a command says. Raises BenchError where it fails."""
    command = [sys.executable, "-m", "marserve", *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"marserve {arguments[0]} failed: {done.stderr}")
    return done.stderr


def _rate_of_classify(arguments: Sequence[object], file: Path, count: int) -> float:
    """From the first result to the end."""
    command = [sys.executable, "-m", "marserve", *map(str, arguments)]
    with subprocess.Popen(command, cwd=REPOSITORY, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not (file.exists() and file.stat().st_size):
            time.sleep(0.01)
        began = time.monotonic()
    elapsed = time.monotonic() - began
    if process.returncode or len(file.read_text(encoding="utf-8").splitlines()) != count:
        raise BenchError("classify did not classify all of them.")
    return count / elapsed


class StandIn:
    """Answers the same whatever the picture, so that everything around the network shows."""

    batch_size = 64
    max_image_bytes = 16_000_000

    def classify(self, pictures: Sequence[Encoded | RequestError]) -> list[list[Prediction] | RequestError]:
        answer = [Prediction(number, Label(None, f"stand-in {number}"), 0.2) for number in range(5)]
        return [picture if isinstance(picture, RequestError) else answer for picture in pictures]


@dataclass(frozen=True)
class Sample:
    at: float
    rows: int
    #: Megabytes of memory of its own, by kind of process.
    memory: dict[str, float]


def measure_rows(archive: Path, photographs: Path, rows: int, scratch: Path) -> int:
    """`marserve bulk` over ``rows`` paths of the photographs, with the memory of its processes."""
    from marserve.bulk import run
    from marserve.bulk.worker import Task
    from marserve.cli.main import main as marserve

    names = sorted(file.name for file in photographs.iterdir() if file.suffix.lower() in (".jpg", ".jpeg"))
    links = [scratch / f"{number:05}" for number in range(-(-rows // len(names)))]
    for link in links:
        link.symlink_to(photographs.resolve(), target_is_directory=True)
    paths = [f"{link}/{name}" for link in links for name in names][:rows]
    (scratch / "list.txt").write_text("\n".join(paths), encoding="utf-8")
    del paths
    latest = 0

    def add(progress: run.Progress, summary: Any) -> float:
        nonlocal latest
        seconds = before(progress, summary)
        latest = progress.rows
        return seconds

    def task(*given: Any, **named: Any) -> Task:
        return replace(Task(*given, **named), digest="stand-in", stand_in=StandIn)

    before = run.Progress.add
    output = scratch / "classes"
    arguments = ["--files-from", scratch / "list.txt", "--archive", archive, "--output", output]
    with (
        mock.patch("marserve.bulk.worker.Task", task),
        mock.patch.object(run.Progress, "add", add),
        _sampled(lambda: latest) as samples,
    ):
        status = marserve(["bulk", *map(str, arguments)])
    if status:
        raise BenchError("bulk failed.")
    return 0 if _report(samples, rows, output) else 1


@contextmanager
def _sampled(rows: Callable[[], int]) -> Iterator[list[Sample]]:
    samples: list[Sample] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(SAMPLE_S):
            samples.append(Sample(time.monotonic(), rows(), _memory()))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def _memory() -> dict[str, float]:
    """Without what is shared: libraries, and Ray's object store, which each process has as far as it has read it."""
    memory = {"driver": _own_mb(psutil.Process()), "head": 0.0, "actors": 0.0}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            kind = "actors" if "MapWorker" in "".join(process.cmdline()) else "head"
            memory[kind] += _own_mb(process)
    return memory


def _own_mb(process: psutil.Process) -> float:
    memory = process.memory_info()
    return float(memory.rss - memory.shared) / 1e6


def _report(samples: list[Sample], rows: int, output: Path) -> bool:
    """A line for each tenth; whether the last third was as the second."""
    import pyarrow.dataset as ds

    paths = ds.dataset(output).to_table(columns=["path"])["path"]
    distinct = len(paths.unique())
    say(f"{len(paths):,} rows, {distinct:,} paths, {len(list(output.iterdir())):,} files; classes by a stand-in")
    at_work = [sample for sample in samples if 0 < sample.rows < rows]
    say("rows        rows/s  driver MB  head MB  actors MB")
    tenths = [[one for one in at_work if one.rows * 10 // rows == tenth] for tenth in range(10)]
    for tenth in filter(lambda tenth: len(tenth) > 1, tenths):
        memory = [mean(sample.memory[kind] for sample in tenth) for kind in ("driver", "head", "actors")]
        say(f"{tenth[-1].rows:>9,} {_rate(tenth):>8,.0f}" + "".join(f" {one:>9,.0f}" for one in memory))
    second, last = ([one for one in at_work if third * rows <= 3 * one.rows < (third + 1) * rows] for third in (1, 2))
    slower = 1 - _rate(last) / _rate(second)
    grown = {
        kind: mean(one.memory[kind] for one in last) / mean(one.memory[kind] for one in second) - 1
        for kind in ("driver", "head", "actors")
    }
    growth = ", ".join(f"{kind} {value:+.1%}" for kind, value in grown.items())
    say(f"The last third beside the second: rate {-slower:+.1%}, memory of {growth}")
    return distinct == len(paths) == rows and slower <= MOST_SLOWER and max(grown.values()) <= MOST_GROWTH


def _rate(samples: list[Sample]) -> float:
    return (samples[-1].rows - samples[0].rows) / (samples[-1].at - samples[0].at)


if __name__ == "__main__":
    os.chdir(REPOSITORY)
    sys.exit(run_command(main))
