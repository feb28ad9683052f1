"""A long run at 80 % of capacity: what creeps? Memory, file descriptors, threads, latency.

A real stack, whose capacity is measured first, is sent mixed pictures at a steady rate; meanwhile a worker is added
and taken away again, a version is deployed and rolled back. Every answer is checked, and each process is looked at once
a second. It may be stopped early (Ctrl-C): its rows are about what was seen until then.

It takes as long as --minutes says, an hour unless told otherwise, and the start of the stack. All rows are of one run.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import astuple
from pathlib import Path
from types import FrameType
from typing import TextIO

import psutil

from marserve.terminal import say
from marserve.variables import variable
from marserve.web.server import LOOK_S
from tests.e2e.operating import edited, manage, rename_labels
from tests.e2e.serving import Stack, stack_on_free_ports
from tests.reliability.drift import LongRun, Sample
from tests.reliability.java_heap import JavaHeap
from tests.reliability.mixed_load import MixedLoad
from tests.reliability.table import Row
from tests.reliability.under_load import MODEL, archive, kind_of

MINUTES = 60.0
#: Of the capacity that was measured.
SHARE = 0.8
#: Seconds between two looks at the processes.
SAMPLE_S = 1.0
#: Seconds without load in the end: the web service looks every LOOK_S whether it has memory to give back.
REST_S = 1.5 * LOOK_S
#: What is done, by the share of the run at which it is.
STEPS = (
    (4 / 12, "scale to 2", ("scale", MODEL, "--workers", "2", "--force", "--yes")),
    (5 / 12, "scale to 1", ("scale", MODEL, "--workers", "1", "--yes")),
    (6 / 12, "deploy", ("deploy", MODEL, "--archive", "SECOND", "--no-compare", "--yes")),
    (7 / 12, "roll back", ("rollback", MODEL, "--yes")),
    (8 / 12, "drain", ("drain", f"{MODEL}/2.0", "--yes")),
)
#: The cache, which is full after the warm-up: what it takes until then is no leak.
CACHE_ENTRIES_A_MINUTE = 150


class StoppedEarly(Exception):  # noqa: N818 - no error
    """A person has had enough."""


class Observer:
    """Looks at the processes of ``stack`` in a thread; what cannot be seen now is seen the next time."""

    def __init__(self, stack: Stack, load: MixedLoad, run: LongRun, file: TextIO, heap: JavaHeap) -> None:
        self._stack, self._load, self._run = stack, load, run
        self._file, self._heap = file, heap
        self._stop = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        thread = threading.Thread(target=self._watch, name="observer")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _watch(self) -> None:
        writer = csv.writer(self._file)
        writer.writerow(["seconds", "kind", "processes", "bytes", "files", "threads", "heap", "left"])
        next_s = time.monotonic()
        while not self._stop.wait(max(0.0, next_s - time.monotonic())):
            next_s = max(next_s + SAMPLE_S, time.monotonic())
            self._run.answers += self._load.take()
            samples = self._samples()
            self._run.samples += samples
            # A full disk takes the file's end, and not the run.
            with suppress(OSError):
                for seen in samples:
                    _, *figures = astuple(seen)
                    writer.writerow([f"{seen.at - self._run.began:.1f}", *figures])
                self._file.flush()

    def _samples(self) -> list[Sample]:
        at = time.monotonic()
        found: dict[str, list[tuple[int, ...]]] = {}
        with suppress(psutil.Error, AssertionError, StopIteration):
            state = self._stack.state()
            processes = {process.pid: process for process in self._stack.processes()}
            with suppress(psutil.Error):
                processes[state.serve.pid] = psutil.Process(state.serve.pid)
            for process in processes.values():
                with suppress(psutil.Error), process.oneshot():
                    files = process.num_fds() - self._callers(process)
                    figures = process.memory_full_info().pss, files, process.num_threads()
                    kind = kind_of(process.cmdline())
                    heap = self._heap.seen(process) if kind == "Java" else (0, 0)
                    found.setdefault(kind, []).append((*figures, *heap))
        return [
            Sample(at, kind, len(figures), *(sum(part) for part in zip(*figures, strict=True)))
            for kind, figures in found.items()
        ]

    def _callers(self, process: psutil.Process) -> int:
        """Connections of callers, as many as they wish."""
        port = self._stack.ports.web_port
        connections = process.net_connections("tcp")
        return sum(bool(one.raddr) and one.laddr.port == port for one in connections)


def run(minutes: float, file: Path | None = None) -> LongRun:
    """Start a stack and do it all; what has been seen, also where it is stopped early or a part of it breaks."""
    seen = LongRun(minutes)
    stack = stack_on_free_ports()
    source = archive()
    stopped = threading.Event()

    def wait_until(at: float) -> None:
        while (left := at - time.monotonic()) > 0:
            if stopped.wait(min(left, 30.0)):
                raise StoppedEarly
            if minutes > 10 and left > 30:
                say(f"  {(time.monotonic() - seen.began) / 60:.0f} minutes, {len(seen.answers)} answered")

    def steps() -> None:
        for share, name, command in STEPS:
            wait_until(seen.began + share * minutes * 60)
            complaint = _change(stack, [str(second) if word == "SECOND" else word for word in command])
            if stopped.is_set():
                raise StoppedEarly
            say(f"  {name}: {complaint or 'done'}")
            if complaint:
                seen.failed.append(f"{name}: {complaint}")
            else:
                seen.done.append(name)

    with (
        (file or Path(os.devnull)).open("w", newline="", encoding="ascii") as samples,
        tempfile.TemporaryDirectory() as temporary,
        interrupted_by_signals(stopped),
    ):
        try:
            say("  starting the stack ...")
            cache = {variable("cache_max_entries"): str(round(CACHE_ENTRIES_A_MINUTE * minutes))}
            heap = JavaHeap(Path(temporary))
            stack.started("--archive", str(source), "--workers", "1", "--model-api", **cache, **heap.options)
            second = edited(source, Path(temporary), "2.0", rename_labels)
            load = MixedLoad(stack.web)
            load.capacity(2.0)
            capacity = load.capacity(min(30.0, max(5.0, minutes * 2)))
            load.take()
            seen.rate = SHARE * capacity
            say(f"  capacity: {capacity:.1f} requests/s")
            seen.began = seen.ended = time.monotonic()
            observer = Observer(stack, load, seen, samples, heap)
            with seen.noting("the run"), suppress(StoppedEarly), observer.watching():
                with load.running(seen.rate):
                    try:
                        steps()
                        # The last sixth is to be whole, even where a step took longer than it should.
                        wait_until(max(seen.began + minutes * 60, time.monotonic() + minutes * 10))
                    finally:
                        seen.ended = time.monotonic()
                wait_until(time.monotonic() + REST_S)
            seen.answers += load.take()
        finally:
            with seen.noting("stop"):
                stack.end()
    return seen


def _change(stack: Stack, arguments: Sequence[str]) -> str:
    """What a command complains of; nothing where it did what it should."""
    try:
        returncode, _, complaint = manage(stack, *arguments)
    except Exception as exc:  # noqa: BLE001 - the run goes on, whatever a command does
        return repr(exc)
    return complaint or f"exit status {returncode}" if returncode else ""


@contextmanager
def interrupted_by_signals(stopped: threading.Event) -> Iterator[None]:
    """The first signal ends the run in good order, the second at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signal_number: int, _: FrameType | None) -> None:
        say("  stopping early ...")
        stopped.set()
        signal.signal(signal_number, signal.default_int_handler)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"how long (default: {MINUTES:.0f})")
    parser.add_argument("--samples", type=Path, metavar="FILE", help="what each process had each second, as CSV")


@contextmanager
def stage(options: argparse.Namespace) -> Iterator[LongRun]:
    yield run(options.minutes, options.samples)


ROWS: Mapping[str, Callable[[LongRun], Row]] = {
    "answers": LongRun.every_answer,
    "memory": LongRun.memory,
    "files": LongRun.files,
    "threads": LongRun.threads,
    "latency": LongRun.latency,
}
