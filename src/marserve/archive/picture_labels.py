"""What a labelled picture shows, as the names of its file or folder say."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from marserve.handler.resnet18.labels import Label

WNID = re.compile(r"(?<![A-Za-z0-9])n\d{8}(?!\d)")
#: What tells pictures of one class apart: ``cat_12``, ``cat-12``, ``cat.12``, ``cat (3)``.
NUMBER = re.compile(r"[\s_.-]*\(?\d+\)?$")


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
