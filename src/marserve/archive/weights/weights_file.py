"""Which weights were chosen, before anything of them is read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class WeightsFile:
    """A file of weights, or with ``path`` None the seeded weights that need no file.

    ``source`` says what the weights are, not how they were reached, so that a cached and a downloaded copy give the
    same archive.
    """

    path: Path | None
    source: str
    sha256: str | None
    trained: bool


def sha256_of(path: Path) -> str:
    """The SHA-256 of the file's content, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
