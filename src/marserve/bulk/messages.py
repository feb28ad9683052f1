"""What Ray prints while a run goes on: in words of this project, and nothing that is said otherwise."""

from __future__ import annotations

import io
import re
from typing import TextIO

from marserve.terminal import complain

#: How Ray's lines begin, and what it adds to one that came before.
RAYS = re.compile(r"(?:\x1b\[\d+m)*\(raylet[^)]*\)(?:\x1b\[\d+m)* (?P<text>.*)", re.DOTALL)
REPEATED = re.compile(r"(?:\x1b\[\d+m)*\s*\[repeated \d+x across cluster\].*", re.DOTALL)
#: A retry, which is why runs survive; a lost host, of which Watch tells.
SAID_OTHERWISE = re.compile(
    r"Task .* so the task will be retried\.|The node with node id: .* has been marked dead", re.DOTALL
)
DIED = re.compile(r"A worker died or was killed .* Worker IP address: (?P<host>\S+)", re.DOTALL)


class Messages(io.TextIOBase):
    """In place of standard output, where Ray prints; what others write goes on to ``others``."""

    def __init__(self, others: TextIO) -> None:
        self._others = others
        self._ends_line = False

    def write(self, text: str) -> int:
        """Ray writes a message at a time, and then the end of its line."""
        found = RAYS.fullmatch(text)
        if found is not None:
            self._ends_line = True
            tell(REPEATED.sub("", found["text"]).strip())
        elif not (self._ends_line and text == "\n"):
            self._ends_line = False
            self._others.write(text)
        return len(text)

    def flush(self) -> None:
        self._others.flush()


def tell(message: str) -> None:
    """A person of what happened, where nobody else does."""
    if died := DIED.match(message):
        complain(f"An actor on host {died['host']} has ended (a picture, or no memory), and is started again.")
    elif not SAID_OTHERWISE.match(message):
        complain(f"Ray: {message}")
