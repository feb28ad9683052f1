"""What a build is to make, and how that becomes a .mar whose bytes depend on its contents alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import yaml

from marserve.archive.labels.read import IMAGENET
from marserve.arguments import UNTRAINED
from marserve.errors import MarserveError
from marserve.handler.resnet18.errors import ConfigurationError
from marserve.handler.resnet18.settings import parse_model_config
from marserve.paths import CONFIG, MODEL_STORE

#: The earliest moment that a zip file can record; every entry gets it.
EPOCH = (1980, 1, 1, 0, 0, 0)
#: The same day in seconds, safely past it in every time zone.
EPOCH_S = 315_619_200
CREATED_ON = "01/01/1980 00:00:00"
MANIFEST = "MAR-INF/MANIFEST.json"
#: torch-model-archiver's rule for names, which also keeps a name from leaving the output directory.
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-.]*")
#: TorchServe orders versions as numbers with dots.
MODEL_VERSION = re.compile(r"\d+(\.\d+)*")


@dataclass(frozen=True)
class BuildOptions:
    """The choices of ``marserve build``; the defaults make the official ResNet18 archive."""

    architecture: str = "resnet18"
    #: A weights file or a folder with one, ``untrained``, or None to look for the official weights.
    weights: str | None = None
    #: Which network in a file of several.
    weights_key: str | None = None
    #: A file or training folder of class names.
    labels: Path = IMAGENET
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
        if self.weights_key is not None and self.weights in (None, UNTRAINED):
            raise ConfigurationError("--weights-key goes with --weights FILE.")
        if not MODEL_VERSION.fullmatch(self.version):
            raise ConfigurationError(f"--version {self.version!r}: use numbers with dots, such as 1.0.")

    @property
    def archive(self) -> Path:
        return self.output / f"{self.model_name}.mar"


class PackagingError(MarserveError):
    """torch-model-archiver failed; carries what it printed."""


def package(contents: Path, handler: Path, config: Path, model_name: str, version: str, destination: Path) -> None:
    """Pack the files in ``contents`` with ``handler`` and ``config`` into the archive file ``destination``.

    torch-model-archiver does it, in a private temporary directory (it deletes and refills ``<tmp>/<model_name>``) and
    with relative names (it splits paths at commas). Its result is then written again in a fixed order without dates.
    """
    for file in contents.rglob("*"):  # a zip file cannot say 1970, the time in some images and of a clock never set
        os.utime(file, (EPOCH_S, EPOCH_S))
    with tempfile.TemporaryDirectory(prefix="mar-") as scratch:
        command = [sys.executable, "-m", "model_archiver.model_packaging", "--model-name", model_name]
        command += ["--version", version, "--handler", os.path.relpath(handler, contents.parent)]
        command += ["--extra-files", contents.name, "--config-file", os.path.relpath(config, contents.parent)]
        command += ["--export-path", scratch, "--archive-format", "zip-store"]
        environment = {**os.environ, "TMPDIR": scratch}
        done = subprocess.run(
            command, cwd=contents.parent, env=environment, capture_output=True, text=True, check=False
        )
        packed = Path(scratch, f"{model_name}.mar")
        if done.returncode or not packed.exists():
            reason = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise PackagingError(f"torch-model-archiver failed: {' '.join(reason) or 'it says nothing.'}")
        _write_reproducibly(packed, destination)


def _write_reproducibly(packed: Path, destination: Path) -> None:
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(destination, "w") as target:
        for name in sorted(source.namelist()):
            content = source.read(name)
            if name == MANIFEST:
                manifest = json.loads(content)
                manifest["createdOn"] = CREATED_ON  # TorchServe warns where it is missing
                content = json.dumps(manifest, indent=2, sort_keys=True).encode()
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o644 << 16
            target.writestr(entry, content)


def read_model_config(options: BuildOptions) -> bytes:
    """model-config.yaml with the requested precision, its comments kept; checked."""
    text = options.model_config.read_text(encoding="utf-8")
    if options.precision is not None:
        text, replaced = re.subn(r"(?m)^(\s+precision:).*$", rf"\1 {options.precision}", text)
        if replaced != 1:
            raise ConfigurationError(
                f"{options.model_config.name} needs one line 'precision: auto' in its handler section for --precision."
            )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigurationError(f"{options.model_config.name} is not valid YAML: {exc}") from exc
    parse_model_config(content)
    return text.encode()
