"""Inputs by the thousand, read in a process of their own: one that ends it, or holds it up, is found and named."""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import mmap
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from marserve.terminal import say
from tests.reliability.hostile.inputs import hostile
from tests.reliability.table import Row
from tests.support import REPOSITORY

#: Seconds of processor time after which an input holds others up, on this machine, which is busy; worst pictures need
#: some seconds, and none here is that large.
SLOW_S = 5.0
#: Seconds without any progress after which the reader is hung.
HUNG_S = 60.0
#: Bytes of memory that a reader may take beyond what its libraries do.
MOST_MEMORY = 4 << 30
#: Share of the inputs after which memory counts: all that is loaded or kept for later is there.
WARM = 0.3
#: By how much memory may grow from there: allocators keep some.
GROWTH, SLACK_BYTES = 0.05, 16_000_000
#: Findings after which it is pointless to go on.
MOST_FINDINGS = 10


@dataclass
class Fuzzed:
    """What the inputs of one row came to."""

    counts: Counter[str] = field(default_factory=Counter)
    #: Number of the input, and what it did.
    findings: list[tuple[int, str]] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: int = 0
    #: Resident bytes after the first part, and in the end.
    memory: tuple[int, int] = (0, 0)
    seconds: float = 0.0

    @property
    def leaks(self) -> bool:
        before, after = self.memory
        return after > before * (1 + GROWTH) + SLACK_BYTES


def fuzz(row: str, seed: int, first: int, count: int) -> Fuzzed:
    """Have ``count`` inputs of ``row`` read, from number ``first`` on."""
    fuzzed = Fuzzed()
    began = time.monotonic()
    with tempfile.NamedTemporaryFile() as progress:
        progress.write(bytes(8))
        progress.flush()
        with mmap.mmap(progress.fileno(), 8) as at:
            end = first + count
            while first < end and len(fuzzed.findings) < MOST_FINDINGS:
                at[:] = first.to_bytes(8, "little")
                command = [
                    sys.executable,
                    "-m",
                    "tests.reliability.hostile.fuzzing",
                    row,
                    str(seed),
                    str(first),
                    str(end),
                ]
                ended = _read(command, progress.name, at, fuzzed)
                first = int.from_bytes(at[:], "little") + 1
                if ended is not None:
                    fuzzed.findings.append((first - 1, ended))
    fuzzed.seconds = time.monotonic() - began
    return fuzzed


def _read(command: list[str], progress: str, at: mmap.mmap, fuzzed: Fuzzed) -> str | None:
    """How the process ended that reads inputs; None: by itself, when all were read."""
    # Libraries in C complain of damaged pictures there.
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as complaints:
        child = subprocess.Popen([*command, progress], stdout=output, stderr=complaints, cwd=REPOSITORY)
        before, since = at[:], time.monotonic()
        while child.poll() is None:
            time.sleep(0.05)
            if at[:] != before:
                before, since = at[:], time.monotonic()
            elif time.monotonic() - since > HUNG_S:
                child.kill()
                child.wait()
                return f"no end within {HUNG_S:.0f} s"
        output.seek(0)
        for line in output:
            said = json.loads(line)
            fuzzed.counts.update(said.get("counts", {}))
            fuzzed.findings += [(number, what) for number, what in said.get("findings", [])]
            if said.get("slowest_s", 0) > fuzzed.slowest_s:
                fuzzed.slowest_s, fuzzed.slowest = said["slowest_s"], said["slowest"]
            fuzzed.memory = tuple(said.get("memory", fuzzed.memory))
        if child.returncode == 0:
            return None
        complaints.seek(0)
        return f"ended the process that read it (status {child.returncode}): {complaints.read()[-300:]}"


def read_all(row: str, seed: int, first: int, end: int, at: mmap.mmap) -> None:
    """In the child: read inputs, say what came of them."""
    from tests.reliability.hostile.readers import READERS

    logging.disable(logging.CRITICAL)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + MOST_MEMORY, hard))
    read, counts = READERS[row], Counter[str]()
    slowest, warm = (0.0, first), 0
    for number in range(first, end):
        at[:] = number.to_bytes(8, "little")
        given = hostile(row, seed, number)
        began = time.process_time()
        try:
            counts[read(given)] += 1
            what = ""
        except BaseException as exc:  # noqa: BLE001 - whatever a reader does not refuse is a finding
            what = f"{type(exc).__name__}: {exc}"[:300]
        took = time.process_time() - began
        slowest = max(slowest, (took, number))
        if took > SLOW_S:
            what = what or f"took {took:.1f} s of processor time"
        if what:
            print(json.dumps({"findings": [(number, what)]}), flush=True)
        if number == first + int(WARM * (end - first)):
            warm = _resident()
    print(
        json.dumps({"counts": counts, "slowest_s": slowest[0], "slowest": slowest[1], "memory": [warm, _resident()]}),
        flush=True,
    )


def _resident() -> int:
    """Bytes, without what the allocator of C keeps for later."""
    gc.collect()
    with suppress(OSError, AttributeError):  # no glibc
        ctypes.CDLL(None).malloc_trim(0)
    return psutil.Process().memory_info().rss


def row_of(key: str, what: str, seed: int, first: int, count: int) -> Row:
    """Have them read; the line of one kind of input in the table."""
    return told(key, what, seed, count, fuzz(key, seed, first, count))


def told(key: str, what: str, seed: int, count: int, fuzzed: Fuzzed) -> Row:
    for number, found in fuzzed.findings:
        say(f"  input {number}: {found}\n    kept in {_keep(key, seed, number)}; again: {again(key, seed, number)}")
    before, after = fuzzed.memory
    seen = (
        f"{fuzzed.counts['read']:,} read, {fuzzed.counts['refused']:,} refused in words; "
        f"slowest {fuzzed.slowest_s * 1000:.0f} ms (input {fuzzed.slowest})"
    )
    if fuzzed.findings:
        seen += f". **{len(fuzzed.findings)} otherwise: {fuzzed.findings[0][1]}**"
    if fuzzed.leaks:
        seen += ". **memory grows**"
    lost = f"memory {before / 1e6:.0f} → {after / 1e6:.0f} MB"
    return Row(f"{count:,} {what} (seed {seed})", seen, None, lost, holds=not fuzzed.findings and not fuzzed.leaks)


def again(key: str, seed: int, number: int) -> str:
    return f"python -m tests.reliability hostile --only {key} --seed {seed} --first {number} --inputs 1"


def _keep(key: str, seed: int, number: int) -> Path:
    given: Any = hostile(key, seed, number)
    path = Path(tempfile.gettempdir()) / f"hostile-{key}-{seed}-{number}"
    path.write_bytes(given if isinstance(given, bytes) else repr(given).encode("utf-8", "backslashreplace"))
    return path


if __name__ == "__main__":
    name, given_seed, first_number, end_number, file = sys.argv[1:]
    descriptor = os.open(file, os.O_RDWR)
    with mmap.mmap(descriptor, 8) as shared:
        read_all(name, int(given_seed), int(first_number), int(end_number), shared)
