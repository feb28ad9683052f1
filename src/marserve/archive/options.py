"""What a build is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from marserve.handler.resnet18.errors import ConfigurationError
from marserve.paths import CONFIG, MODEL_STORE

#: torch-model-archiver's rule for names, which also keeps a name from leaving the output directory.
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-.]*")
#: TorchServe orders versions as numbers with dots.
MODEL_VERSION = re.compile(r"\d+(\.\d+)*")


@dataclass(frozen=True)
class BuildOptions:
    """The choices of ``marserve build``; the defaults make the official ResNet18 archive."""

    architecture: str = "resnet18"
    #: A weights file, ``untrained``, or None to look for the official weights.
    weights: str | None = None
    labels: Path = CONFIG / "index_to_name.json"
    #: None: as in model-config.yaml.
    precision: str | None = None
    #: Folder of pictures that int8 is fitted to and judged by; None where the archive at hand was built with them.
    calibration: Path | None = None
    #: Keep int8 however much it loses.
    accept_accuracy_loss: bool = False
    model_name: str = "resnet18"
    version: str = "1.0"
    output: Path = MODEL_STORE
    model_config: Path = CONFIG / "model-config.yaml"

    def __post_init__(self) -> None:
        if not MODEL_NAME.fullmatch(self.model_name):
            raise ConfigurationError(
                f"--model-name {self.model_name!r}: use letters, digits, '_', '-' and '.', such as resnet18."
            )
        if self.precision not in (None, "int8") and (self.calibration is not None or self.accept_accuracy_loss):
            raise ConfigurationError("--calibration and --accept-accuracy-loss go with --precision int8.")
        if not MODEL_VERSION.fullmatch(self.version):
            raise ConfigurationError(f"--version {self.version!r}: use numbers with dots, such as 1.0.")

    @property
    def archive(self) -> Path:
        """Where the archive is written."""
        return self.output / f"{self.model_name}.mar"
