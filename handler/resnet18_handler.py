"""The archive's entry point. TorchServe serves the one class that this file defines."""

from __future__ import annotations

from resnet18.handler import ClassificationHandler


class ResNet18Handler(ClassificationHandler):  # type: ignore[misc] # the name it has in an archive
    """The handler, under the name that stands in the archive's manifest."""
