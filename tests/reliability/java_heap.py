"""Java's heap, told from what Java takes besides it.

G1 makes room for young objects as it sees fit, more where collections take long, as on a busy machine, up to -Xmx: what
Java takes as a whole grows for minutes though nothing is kept. What the collections leave does not.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import psutil

ADDRESS = re.compile(r"Heap address: 0x([0-9a-f]+), size: (\d+) MB")
LEFT = re.compile(r"Pause (?:Young|Full) .*->(\d+)M\(")
MIB = 1 << 20
#: Of a log, the end of which has the last collection.
TAIL_BYTES = 20_000


class JavaHeap:
    """Of every Java that is started with ``options``, which has it write a log of its own into ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.options = {
            "JDK_JAVA_OPTIONS": f"-Xlog:gc,gc+heap+coops=debug:file={folder}/%p.log::filecount=0",
        }

    def seen(self, java: psutil.Process) -> tuple[int, int]:
        """(bytes of the heap that are in memory, bytes that the last collection left). 0 where that is not known."""
        with suppress(OSError), (self._folder / f"{java.pid}.log").open(encoding="utf-8", errors="replace") as log:
            address = ADDRESS.search(log.read(TAIL_BYTES))
            size = log.seek(0, 2)
            log.seek(max(0, size - TAIL_BYTES))
            left = LEFT.findall(log.read())
            if address is not None and left:
                begin, end = int(address[1], 16), int(address[1], 16) + int(address[2]) * MIB
                parts = java.memory_maps(grouped=False)
                return sum(part.pss for part in parts if begin <= int(part.addr.split("-")[0], 16) < end), (
                    int(left[-1]) * MIB
                )
        return 0, 0
