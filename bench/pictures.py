"""What is sent: real photographs, and 12-megapixel ones made from some of them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError

PHOTOGRAPHS = "photographs"
LARGE = "12 megapixels"
COLORED = "photographs in color"
#: Clients at the 12-megapixel pictures: a full queue of them would take longer than the measurement.
LARGE_CLIENTS = 8
SUFFIXES = (".jpg", ".jpeg")
#: Fewer, and a server's or the operating system's caches would see the same picture again and again.
FEWEST = 16
#: Enough that every client of a measurement sends another one; each takes about 2 MB.
LARGE_COUNT = 16
LARGE_SIZE = (4000, 3000)
LARGE_QUALITY = 90


@dataclass(frozen=True)
class PictureSet:
    """Pictures as the bytes of JPEG files."""

    name: str
    pictures: tuple[bytes, ...]

    @property
    def mean_kb(self) -> float:
        return sum(map(len, self.pictures)) / len(self.pictures) / 1e3


def read_photographs(directory: Path) -> PictureSet:
    """Every JPEG file of ``directory``. Raises BenchError where there are too few for an honest figure."""
    files = sorted(file for file in directory.iterdir() if file.suffix.lower() in SUFFIXES)
    if len(files) < FEWEST:
        raise BenchError(
            f"{directory} has {len(files)} JPEG files; give a directory with at least {FEWEST} different photographs, "
            "better 200, of the size that your users send."
        )
    return PictureSet(PHOTOGRAPHS, tuple(file.read_bytes() for file in files))


def in_color(photographs: PictureSet) -> PictureSet:
    """Those with three channels: a server that fails the others at any rate could hold none."""
    from PIL import Image

    def is_colored(picture: bytes) -> bool:
        with Image.open(io.BytesIO(picture)) as image:
            return image.mode == "RGB"

    return PictureSet(COLORED, tuple(picture for picture in photographs.pictures if is_colored(picture)))


def make_large(photographs: PictureSet, directory: Path) -> PictureSet:
    """Some of the photographs, evenly chosen, upscaled to 12 megapixels; kept in ``directory`` for the next run."""
    from PIL import Image

    directory.mkdir(parents=True, exist_ok=True)
    step = max(1, len(photographs.pictures) // LARGE_COUNT)
    large = []
    for number, picture in enumerate(photographs.pictures[::step][:LARGE_COUNT]):
        file = directory / f"{number}.jpg"
        if not file.exists():
            with Image.open(io.BytesIO(picture)) as image:
                upscaled = image.convert("RGB").resize(LARGE_SIZE, Image.Resampling.BICUBIC)
            upscaled.save(file, "JPEG", quality=LARGE_QUALITY)
        large.append(file.read_bytes())
    return PictureSet(LARGE, tuple(large))
