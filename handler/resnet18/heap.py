"""glibc's heap, which keeps what is free in it; a process that lives for months gives it back.

Python and the decoders share it. Its threshold for blocks that go back to the system at once rises to the largest one
that was ever freed, up to 32 MB; of all others glibc gives back only those at a heap's end, and each thread has a heap.
So what one large picture took, or a rush of small ones, lies between blocks that live on, and stays. ``malloc_trim``
gives back the free pages in all heaps (https://www.gnu.org/software/libc/manual/html_node/Freeing-after-Malloc.html).
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path

#: glibc's numbers of two settings (malloc.h): of how many bytes on a block is given back to the system by itself, and
#: how many free bytes at the heap's end are.
M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -3, -1
#: How many looks it takes to believe that what is still there after a trim is in use, and not a picture at work.
PATIENT_LOOKS = 30

#: Taken by the one thread that looks; a process whose handlers come and go has no more of them.
_unwatched = threading.Lock()
_never = threading.Event()


class Heap:
    """This process's; with another C library it does nothing."""

    def __init__(self, slack_bytes: int, large_block_bytes: int | None = None) -> None:
        """Free memory is given back where ``slack_bytes`` more are resident than were in use.

        Blocks of ``large_block_bytes`` go back as soon as they are free, which costs zeroed pages at the next one.
        """
        self._c = ctypes.CDLL(None)
        self._slack_bytes = slack_bytes
        #: Bytes that were resident after each of the last trims.
        self._kept: deque[int] = deque([0], maxlen=PATIENT_LOOKS)
        if large_block_bytes is not None:
            with suppress(AttributeError):
                self._c.mallopt(M_MMAP_THRESHOLD, large_block_bytes)
                self._c.mallopt(M_TRIM_THRESHOLD, 2 * large_block_bytes)

    def return_free_blocks(self) -> None:
        """Look once, and give back what is free, where it may be much. The interpreter goes on meanwhile."""
        with suppress(AttributeError, OSError):
            # The least of several: a look in the middle of a large picture must not make what it takes the rule.
            if resident_bytes() > min(self._kept) + self._slack_bytes:
                self._c.malloc_trim(0)
                self._kept.append(resident_bytes())

    def look_every(self, seconds: float) -> None:
        """Do so for as long as the process lives, in a thread of its own; where one looks already, that is enough."""

        def look() -> None:
            while not _never.wait(seconds):
                self.return_free_blocks()

        if _unwatched.acquire(blocking=False):
            threading.Thread(target=look, name="heap", daemon=True).start()


def resident_bytes() -> int:
    """What this process has of the machine's memory. Raises OSError where the system does not say so."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
