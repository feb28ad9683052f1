"""Runs of ``marserve bulk`` for tests: pictures, the command, and what it has written by now."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq

from marserve.bulk.output import SETTINGS_FILE
from marserve.system.waiting import wait_until
from tests.support import REPOSITORY

EXAMPLES = sorted((REPOSITORY / "examples").glob("*.jpg"))
#: Seconds for a whole run on a busy machine, and for what is left of one that was killed to be gone.
RUN_S, GONE_S = 240.0, 60.0
#: What a run says: how far it is, and how it ended.
SAID = re.compile(r"Classifying: .*|[\d,]+ classified at .*|Host \S+ is lost\. .*|An actor on host .*|Interrupted: .*")


@dataclass(frozen=True)
class Written:
    """A file of results as it was once."""

    inode: int
    changed_ns: int
    content: bytes


def make_pictures(folder: Path, count: int) -> list[str]:
    """The paths of ``count`` pictures in ``folder``, which are the examples again and again."""
    folder.mkdir(parents=True)
    paths = [folder / f"{number:04}-{EXAMPLES[number % len(EXAMPLES)].name}" for number in range(count)]
    for number, path in enumerate(paths):
        if number < len(EXAMPLES):
            path.write_bytes(EXAMPLES[number].read_bytes())
        else:
            path.hardlink_to(paths[number % len(EXAMPLES)])
    return [str(path) for path in paths]


def bulk(archive: Path, output: Path | str, *arguments: object, module: str = "marserve") -> list[str]:
    """The command, whose process is the driver itself."""
    given = ("--archive", archive, "--output", output, *arguments)
    return [sys.executable, "-m", module, "bulk", *map(str, given)]


def parts(output: Path) -> list[Path]:
    """The files with results that are there by now."""
    return sorted(output.glob("part-*.parquet"))


def wait_for_parts(output: Path, count: int, driver: subprocess.Popen[bytes], log: Path) -> None:
    """Return when the run of ``driver`` has begun, and there are so many files."""
    found = wait_until(
        lambda: (output / SETTINGS_FILE).exists() and len(parts(output)) >= count,
        RUN_S, poll_s=0.02, while_alive=lambda: driver.poll() is None,
    )  # fmt: skip
    assert found, log.read_text(errors="replace")


def written(output: Path) -> dict[str, Written]:
    found = {}
    for path in parts(output):
        status = path.stat()
        found[path.name] = Written(status.st_ino, status.st_mtime_ns, path.read_bytes())
    return found


def rows_of(output: Path) -> list[dict[str, Any]]:
    """All rows, by their paths."""
    rows: list[dict[str, Any]] = pq.read_table(output).to_pylist()
    return sorted(rows, key=lambda row: str(row["path"]))


def labels_of(output: Path) -> dict[str, str]:
    """By path; each has one row."""
    rows = rows_of(output)
    labels = {row["path"]: row["label"] for row in rows}
    assert len(labels) == len(rows)
    return labels


def others_lines(said: str) -> list[str]:
    """What a run printed that is not its own, such as lines of Ray."""
    return [line for line in said.splitlines() if not SAID.fullmatch(line)]


def rays() -> set[int]:
    """The processes of every Ray that a bulk run has started, its actors apart."""
    found = psutil.process_iter(["cmdline"])
    return {process.pid for process in found if "marserve-ray-" in " ".join(process.info["cmdline"] or ())}


def is_actor(process: psutil.Process) -> bool:
    """Whether it is one of a bulk run."""
    with suppress(psutil.Error):
        return "MapWorker" in " ".join(process.cmdline())
    return False


def kill(driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """SIGKILL to it alone, until nothing of a Ray of its own is left but its two agents, which are answered."""
    processes = psutil.Process(driver.pid).children(recursive=True)
    agents = [process for process in processes if process.cmdline()[0].endswith("Agent")]
    driver.kill()
    driver.wait()
    assert wait_until(lambda: not [one for one in processes if is_alive(one) and one not in agents], GONE_S), processes
    return agents


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
