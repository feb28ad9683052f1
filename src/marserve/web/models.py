"""What TorchServe serves, as this service sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: ``unknown``: an archive that does not describe itself, or has not yet.
Weights = Literal["trained", "untrained", "demonstration", "unknown"]

#: The model that brings true labels where ResNet18's weights cannot be had.
DEMONSTRATION_ARCHITECTURE = "efficientnet_lite0"


@dataclass(frozen=True)
class Description:
    """What an archive says about itself."""

    architecture: str | None = None
    class_count: int | None = None
    precision: str | None = None
    trained: bool | None = None
    #: Digest of everything the archive was built from.
    inputs_sha256: str | None = None


@dataclass(frozen=True)
class Version:
    """One version of one model, as TorchServe's management API reports it."""

    name: str
    version: str
    is_default: bool
    #: Archive that it was loaded from.
    url: str
    #: Process ids of the workers that are READY; a restarted worker has another one.
    ready_workers: frozenset[int]
    #: All workers on the list. Ones that TorchServe has given up for good stay there.
    listed_workers: int


@dataclass(frozen=True)
class ServedModel:
    """One version of a model with its description."""

    reported: Version
    #: Empty until the archive has been asked.
    description: Description
    #: False while workers are at work that have not been asked: their archive may be another one than the described.
    is_confirmed: bool

    @property
    def name(self) -> str:
        """The name under which TorchServe serves it."""
        return self.reported.name

    @property
    def version(self) -> str:
        """The version under which TorchServe serves it."""
        return self.reported.version

    @property
    def weights(self) -> Weights:
        """What its answers are worth."""
        if self.description.trained is None:
            return "unknown"
        if not self.description.trained:
            return "untrained"
        return "demonstration" if self.description.architecture == DEMONSTRATION_ARCHITECTURE else "trained"

    @property
    def identity(self) -> str | None:
        """What a cached result depends on besides the request; None: nothing may be cached just now."""
        if not self.is_confirmed:
            return None
        return f"{self.name}\n{self.version}\n{self.reported.url}\n{self.description.inputs_sha256}"
