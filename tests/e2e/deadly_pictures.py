"""``python -m tests.e2e.deadly_pictures bulk ...`` is `marserve bulk ...` with a stand-in for decoder and network.

It ends its process at a picture with a mark, as a decoder does that crashes.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

from marserve.bulk.engine import Prediction
from marserve.bulk.worker import Task
from marserve.cli.main import main
from marserve.handler.resnet18.errors import RequestError
from marserve.handler.resnet18.images import Encoded
from marserve.handler.resnet18.labels import Label

MARK = b"deadly"


class EndsAtMark:
    batch_size = 4
    max_image_bytes = 1000

    def classify(self, pictures: Sequence[Encoded | RequestError]) -> list[list[Prediction] | RequestError]:
        if any(not isinstance(picture, RequestError) and MARK in bytes(picture) for picture in pictures):
            os.kill(os.getpid(), signal.SIGKILL)
        return [
            picture if isinstance(picture, RequestError) else [Prediction(0, Label(None, "a picture"), 1.0)]
            for picture in pictures
        ]


def task(*given: Any, **named: Any) -> Task:
    return replace(Task(*given, **named), stand_in=EndsAtMark)


if __name__ == "__main__":
    with mock.patch("marserve.bulk.worker.Task", task):
        sys.exit(main(sys.argv[1:]))
