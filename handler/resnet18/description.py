"""``description.json`` of an archive: what is inside, where that came from, and how to prepare pictures for it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .errors import ConfigurationError

DESCRIPTION_FILE = "description.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Preprocessing(_Part):
    """How a decoded picture becomes the network's input: the shorter side to ``resize_size``, then a centre crop."""

    resize_size: int = Field(default=256, ge=1)
    crop_size: int = Field(default=224, ge=1)
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"


class Normalization(_Part):
    """Per-channel mean and standard deviation (R, G, B), for pixels scaled to 0 to 1; the defaults are ImageNet's."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class WeightsOrigin(_Part):
    """Where the weights came from; ``trained`` is false only for seeded random weights."""

    source: str
    sha256: str | None
    trained: bool
    #: What was taken otherwise than it stood in the file, and what was ignored.
    notes: tuple[str, ...] = ()


class Quantization(_Part):
    """How the graph became int8, and what that cost on pictures that were kept apart; shares are from 0 to 1."""

    #: NNCF's settings.
    preset: str
    bias_correction: str
    #: Layers, by their names in the exported graph, that stayed in f32.
    excluded_layers: tuple[str, ...]
    #: The figures below are those of the best of so many attempts.
    plans_tried: int
    calibration_pictures: int
    #: Over the contents and classes of all pictures of the calibration folder.
    calibration_sha256: str
    judged_pictures: int
    #: Share of the judged pictures with the same first class as in f32; means nothing for random weights.
    agreement: float
    labelled_pictures: int
    #: Of the labelled ones, the share whose first class is the true one; None where none is labelled.
    top1_f32: float | None
    top1_int8: float | None
    #: Whether the loss was more than is usually accepted.
    accuracy_loss_accepted: bool
    nncf: str


class Description(_Part):
    """Everything that is fixed when an archive is built; equal inputs give an equal description."""

    model: str
    version: str
    architecture: str
    class_count: int = Field(ge=1)
    precision: Literal["auto", "f32", "bf16", "int8"]
    #: None where the graph is not int8.
    quantization: Quantization | None = None
    weights: WeightsOrigin
    preprocessing: Preprocessing
    normalization: Normalization
    #: The weights (classes, channels) of a head that allows class activation maps, else None.
    head: str | None
    labels_sha256: str
    libraries: dict[str, str]
    #: SHA-256 over everything that went in; an archive whose digest differs from its inputs' is stale.
    inputs_sha256: str

    @classmethod
    def read(cls, directory: Path) -> Description:
        file = directory / DESCRIPTION_FILE
        try:
            return cls.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as exc:
            raise ConfigurationError(
                f"{file.name} of the archive cannot be used ({exc}): build the archive with marserve build."
            ) from exc
