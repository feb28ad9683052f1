"""The pictures that int8 is fitted to, and those kept apart that say how well it fits."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.engines.base import Pixels
from marserve.handler.resnet18.errors import ConfigurationError, RequestError
from marserve.handler.resnet18.heif import find_decoder
from marserve.handler.resnet18.images import ImageDecoder, ImageLimits
from marserve.handler.resnet18.labels import Label
from marserve.pictures import describe_skipped, find_pictures
from marserve.terminal import Report

#: With 50 pictures kept apart one that changes its class is 2 %: fewer could not tell 97 % from 100 %.
LEAST_PICTURES = 100
#: What a calibration uses at most, NNCF's default: ranges hardly change beyond it.
MOST_CALIBRATION_PICTURES = 300
#: Enough for tenths of a percent; the rest of a large folder is not read.
MOST_PICTURES = 2000
#: Nobody else's pictures: large photographs are welcome.
LIMITS = ImageLimits(max_image_bytes=100_000_000, max_image_pixels=200_000_000)
WNID = re.compile(r"(?<![A-Za-z0-9])n\d{8}(?!\d)")
#: What tells pictures of one class apart: ``cat_12``, ``cat-12``, ``cat.12``, ``cat (3)``.
NUMBER = re.compile(r"[\s_.-]*\(?\d+\)?$")


@dataclass(frozen=True)
class CalibrationPicture:
    """A file of the folder and its content's SHA-256."""

    path: Path
    sha256: str
    #: What the names of file and folder say it shows; None where they say nothing.
    class_id: int | None


@dataclass(frozen=True)
class Pictures:
    """Decoded pictures (N, H, W, 3) as the archive decodes them, with their classes; -1 where unknown."""

    pixels: Pixels
    class_ids: np.ndarray[tuple[int], np.dtype[np.int64]]

    def __len__(self) -> int:
        return len(self.pixels)


def calibration_pictures(directory: Path, labels: list[Label], report: Report) -> list[CalibrationPicture]:
    """The pictures below ``directory``, in the order of their contents' digests, each content once.

    Of more than MOST_PICTURES those with the smallest digest of their name are taken: a fixed choice at random. Raises
    ConfigurationError where ``directory`` is none, NoPictureFoundError where it holds none.
    """
    if not directory.is_dir():
        raise ConfigurationError(f"--calibration {directory}: give a folder of pictures like those to be classified.")
    below = find_pictures([str(directory)], heic=find_decoder() is not None)
    if below.skipped:
        report(f"  --calibration: {describe_skipped(below.skipped)}")
    files = [path for picture in below.pictures if (path := Path(picture)).is_file()]
    files.sort(key=lambda path: hashlib.sha256(os.path.relpath(path, directory).encode()).digest())
    class_of = PictureLabels(labels)
    found: dict[str, CalibrationPicture] = {}
    for path in sorted(files[:MOST_PICTURES]):
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        found.setdefault(sha256, CalibrationPicture(path, sha256, class_of(path)))
    return [found[sha256] for sha256 in sorted(found)]


def calibration_digest(files: list[CalibrationPicture]) -> str:
    """SHA-256 over what the pictures contribute to an archive: their contents and classes, not where they lie."""
    content = [[file.sha256, file.class_id] for file in files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def split_pictures(
    files: list[CalibrationPicture], preprocessing: Preprocessing, report: Report
) -> tuple[Pictures, Pictures]:
    """Decode ``files``: pictures to calibrate with, and as many or more to judge by.

    The order of digests, which says nothing about what is on a picture, decides which go where, so that equal folders
    are split equally. Raises ConfigurationError for fewer than LEAST_PICTURES.
    """
    decoder = ImageDecoder(preprocessing, LIMITS)
    read = [(pixels, file.class_id) for file in files if (pixels := _decode(decoder, file)) is not None]
    decoded, class_ids = [pixels for pixels, _ in read], [-1 if known is None else known for _, known in read]
    if len(decoded) < LEAST_PICTURES:
        raise ConfigurationError(
            f"--calibration holds {len(decoded)} different pictures that can be read, and int8 needs {LEAST_PICTURES} "
            "or more: half of them to calibrate with, half to find what that costs. Give more of what is to be "
            "classified."
        )
    if unreadable := len(files) - len(decoded):
        report(f"  {unreadable} files of the calibration folder cannot be read; they are left out.")
    count = min(len(decoded) // 2, MOST_CALIBRATION_PICTURES)
    pixels, classes = np.stack(decoded), np.array(class_ids, dtype=np.int64)
    return Pictures(pixels[:count], classes[:count]), Pictures(pixels[count:], classes[count:])


def _decode(decoder: ImageDecoder, file: CalibrationPicture) -> Pixels | None:
    try:
        return decoder.decode(file.path.read_bytes()).pixels
    except RequestError:
        return None


class PictureLabels:
    """Finds the class id of a labelled picture; names that several classes share say nothing."""

    def __init__(self, labels: list[Label]) -> None:
        self._by_wnid = {label.wnid: index for index, label in enumerate(labels) if label.wnid is not None}
        names = [_plain(label.name) for label in labels]
        count = Counter(names)
        self._by_name = {name: index for index, name in enumerate(names) if count[name] == 1}

    def __call__(self, picture: Path) -> int | None:
        """The class by a WordNet id in the file's or folder's name, else by a class name as one of the two."""
        for text in (picture.name, picture.parent.name):
            for wnid in WNID.findall(text):
                if wnid in self._by_wnid:
                    return self._by_wnid[wnid]
        for text in (picture.parent.name, picture.stem, NUMBER.sub("", picture.stem)):
            if _plain(text) in self._by_name:
                return self._by_name[_plain(text)]
        return None


def _plain(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name).strip().lower()
