"""What TorchServe serves, as this service sees it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from marserve.handler.resnet18.description import Preprocessing
from marserve.handler.resnet18.network import EFFICIENTNET_LITE0
from marserve.torchserve.models import ModelVersion

#: ``unknown``: an archive that does not describe itself, or has not yet.
Weights = Literal["trained", "untrained", "demonstration", "unknown"]


def weights_of(architecture: str | None, trained: bool | None) -> Weights:
    """What a network's answers are worth; the demonstration has true labels where ResNet18's weights cannot be had."""
    if trained is None:
        return "unknown"
    if not trained:
        return "untrained"
    return "demonstration" if architecture == EFFICIENTNET_LITE0 else "trained"


@dataclass(frozen=True)
class ArchiveDescription:
    architecture: str | None = None
    class_count: int | None = None
    #: What the workers compute in; "auto" until they have said what that means on their machine.
    precision: str | None = None
    trained: bool | None = None
    #: What its workers read, such as JPEG.
    picture_formats: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None
    #: Whether its workers take several pictures in one request.
    reads_groups: bool = False
    #: Digest of everything the archive was built from.
    inputs_sha256: str | None = None

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> ArchiveDescription:
        """What can be read; an archive that is not one of ours may describe itself in any way, or not at all."""
        weights = content.get("weights")
        trained = weights.get("trained") if isinstance(weights, dict) else None
        running = content.get("running")
        running = running if isinstance(running, dict) else {}
        formats = running.get("picture_formats")
        return cls(
            architecture=_of_type(content.get("architecture"), str),
            class_count=_of_type(content.get("class_count"), int),
            precision=_of_type(running.get("precision", content.get("precision")), str),
            trained=_of_type(trained, bool),
            picture_formats=tuple(map(str, formats)) if isinstance(formats, list) else (),
            reads_groups=running.get("reads_groups") is True,
            preprocessing=_preprocessing(content.get("preprocessing")),
            inputs_sha256=_of_type(content.get("inputs_sha256"), str),
        )


@dataclass(frozen=True)
class KnownModel:
    """One version of a model with its description."""

    reported: ModelVersion
    #: Empty until the archive has described itself.
    description: ArchiveDescription
    #: False while no worker at work is one from the description's time: the archive may be another one by now.
    is_confirmed: bool

    @property
    def name(self) -> str:
        return self.reported.model

    @property
    def version(self) -> str:
        return self.reported.version

    @property
    def weights(self) -> Weights:
        return weights_of(self.description.architecture, self.description.trained)

    @property
    def was_last(self) -> bool:
        """Whether this archive gave the last answers that there are: no worker is READY, so no other one has since.

        What is kept of it is as good as it was, while TorchServe is being restarted; nothing is to be added.
        """
        return self.is_confirmed or (not self.reported.ready_workers and self.description != ArchiveDescription())

    @property
    def identity(self) -> str:
        """What a result depends on besides the request; where ``was_last``, for as long as a result is kept."""
        archive = self.description.inputs_sha256 if self.was_last else sorted(self.reported.ready_processes)
        return f"{self.name}\n{self.version}\n{self.reported.archive}\n{archive}"


def _preprocessing(content: Any) -> Preprocessing | None:
    try:
        return Preprocessing.model_validate(content)
    except ValidationError:
        return None


def _of_type(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else None
