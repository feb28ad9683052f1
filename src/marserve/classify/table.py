"""Results for a person: a line a picture with its classes side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence

from marserve.client.predictions import Classification
from marserve.pictures import PictureFile

#: Characters of a path; of a longer one the end is shown, which tells more.
LONGEST_PATH = 48


class Table:
    """The width of its first column is that of the longest path, up to a limit."""

    def __init__(self, pictures: Sequence[PictureFile]) -> None:
        self._width = min(max((len(_shown(picture.path)) for picture in pictures), default=0), LONGEST_PATH)

    def line(self, picture: PictureFile, answer: Classification) -> str:
        """One picture, with a line break."""
        classes = "  ".join(f"{_percent(entry.probability)} {entry.label}" for entry in answer.predictions)
        return f"{_shown(picture.path):<{self._width}}  {classes}\n"


def _percent(probability: float) -> str:
    return f"{probability * 100:5.1f} %"


def _shown(path: str) -> str:
    text = os.fsencode(path).decode("utf-8", "replace")
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= LONGEST_PATH else "…" + text[1 - LONGEST_PATH :]
